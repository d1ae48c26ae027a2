"""Another route to `.tflite`: JAX → TensorFlow → TFLiteConverter (`--via jax2tf`, an extra).

It is five times slower than `litert` and a gigabyte larger to install. It is independent of it, so
the two routes check each other.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporters.graph.signature import Signature
from pocket_tts_jax.errors import ConfigError


def convert(signatures: Sequence[Signature], path: Path) -> None:
    """Convert every signature into one file. Raises ConfigError without TensorFlow."""
    try:
        import tensorflow as tf
    except ImportError:
        raise ConfigError(
            "--via jax2tf needs TensorFlow: pip install tensorflow-cpu, or leave out --via."
        ) from None
    module = tf.Module()
    functions = {s.name: _tf_function(tf, s) for s in signatures}
    for name, function in functions.items():
        setattr(module, name, function)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        path.write_bytes(converter.convert())


def _tf_function(tf: Any, signature: Signature) -> Any:
    """The signature with its inputs by name and its outputs as a mapping."""
    from jax.experimental import jax2tf

    run = jax2tf.convert(signature.bound(), with_gradient=False)
    names = [tensor.name for tensor in signature.inputs]
    # An output may not share the name of an input in TensorFlow; LiteRT knows it by its key.
    specs = {
        t.name: tf.TensorSpec(t.shape, getattr(tf, t.dtype), name=t.name) for t in signature.inputs
    }

    def call(**inputs: Any) -> dict[str, Any]:
        results = run(*(inputs[name] for name in names))
        return {
            tensor.name: tf.identity(result)
            for tensor, result in zip(signature.outputs, results, strict=True)
        }

    return tf.function(call, autograph=False).get_concrete_function(**specs)
