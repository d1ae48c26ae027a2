"""What is decided before JAX starts: whether it is there, its processors, its compiled code.

This file imports JAX inside functions only, so that it can answer where JAX is missing.
"""

import importlib.util
import logging
import os
from pathlib import Path

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.files.cache import cache_folder

_log = logging.getLogger(__name__)
_NEEDED = ("jax", "flax", "jaxtyping")


class MissingExtra(ConfigError, ImportError):
    """An extra of this package is not installed."""


def missing_packages() -> list[str]:
    """Packages of the extra `[jax]` that are not installed."""
    found = []
    for name in _NEEDED:
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # a module that was set to None
            spec = None
        if spec is None:
            found.append(name)
    return found


def require_jax() -> None:
    """MissingExtra where the JAX engine cannot be imported."""
    if missing := missing_packages():
        raise MissingExtra(
            f"The JAX engine needs {', '.join(missing)}: pip install 'pocket-tts-jax[jax]'. "
            "Without it give --model EXPORT, a folder made by `python -m exporters.tflite`."
        )


def limit_threads(count: int) -> None:
    """Keep the process on `count` of its processors from now on.

    XLA has no thread limit for its CPU backend, but makes as many threads as the process may use
    processors: call this before JAX starts. Raises ConfigError where the system has no such
    bound (macOS, Windows), or for a count below 1.
    """
    if count < 1:
        raise ConfigError(f"threads must be 1 or more, got {count}")
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError(
            "JAX's threads cannot be limited on this system. Leave --threads out, or use the "
            "LiteRT engine, which counts its own."
        )
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:count])


def use_compilation_cache(folder: Path | None = None) -> None:
    """Let JAX keep what it compiles, unless the user has already chosen a folder for that.

    JAX writes entries atomically and keys them by program, version and processor, so that
    concurrent processes and upgrades are safe. A folder that cannot be written, or a user without a
    home, costs a warning and the time to compile, not the run.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore
        return
    folder = folder or cache_folder("compiled")
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("Compiled code cannot be kept: %s", error)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Everything: a step's many small programs add up at each start.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
