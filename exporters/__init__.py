"""Exporters: `python -m exporters.tflite` and `python -m exporters.stablehlo`.

The import name is shared with huggingface/exporters; do not install both in one environment.
"""
