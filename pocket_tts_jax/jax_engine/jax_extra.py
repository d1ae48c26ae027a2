"""What the JAX engine needs beside this package, and what to do where it is not installed."""

import importlib.util

from pocket_tts_jax.errors import ConfigError

_NEEDED = ("jax", "flax", "jaxtyping")


class MissingExtra(ConfigError, ImportError):
    """An extra of this package is not installed."""


def require_jax() -> None:
    """MissingExtra where the JAX engine cannot be imported."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"The JAX engine needs {', '.join(missing)}: pip install 'pocket-tts-jax[jax]'. "
            "Without it give --model EXPORT, a folder made by `python -m exporters.tflite`."
        )
