"""Measurements: `python -m benchmarks.compare`, `.step`, `.latency`, `.soak`, `.table`."""
