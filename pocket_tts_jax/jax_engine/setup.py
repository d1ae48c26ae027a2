"""Settings made before JAX starts: whether it is installed, processors, compilation cache.

JAX is imported inside functions only, so that this file can be imported without it.
"""

import importlib.util
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.files.cache import cache_folder

if TYPE_CHECKING:
    import jax

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
    """Raise MissingExtra if the JAX engine cannot be imported."""
    if missing := missing_packages():
        raise MissingExtra(
            f"The JAX engine needs {', '.join(missing)}: pip install 'pocket-tts-jax[jax]'. "
            "Without it give --model EXPORT, a folder made by `python -m exporters.tflite`."
        )


def find_devices(platform: str) -> "list[jax.Device]":  # pyright: ignore[reportInvalidTypeForm]
    """JAX's devices of a platform: "cpu", "gpu" or "tpu". Raises ConfigError if there are none."""
    import jax

    if platform == "cpu":  # without this, JAX takes a GPU's memory, and computes there by default
        jax.config.update("jax_platforms", platform)
    try:
        return jax.devices(platform)
    except RuntimeError as error:
        raise ConfigError(
            f"JAX finds no {platform} here: install JAX for it "
            "(https://docs.jax.dev/en/latest/installation.html). In a process that has opened a "
            f"model on the CPU, JAX looks for no other device. {error}"
        ) from error


def limit_threads(count: int) -> None:
    """Keep the process on `count` of its processors from now on.

    XLA's CPU backend has no thread limit, but starts one thread for each processor that the process
    may use: call this before JAX starts. Raises ConfigError on systems without processor affinity
    (macOS, Windows), and for a count below 1.
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
    """Keep compiled code on disk, unless JAX already has a folder for it.

    JAX writes entries atomically and keys them by program, version and processor, so concurrent
    processes and upgrades are safe. If the folder cannot be written, a warning is logged and code
    is compiled again.
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
    # Keep every program: the many small ones of a step add up at each start.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
