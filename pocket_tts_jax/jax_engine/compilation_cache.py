"""Compiled code kept between processes, in the user's cache folder."""

import logging
from pathlib import Path

import jax

from pocket_tts_jax.files.hub import cache_folder

_log = logging.getLogger(__name__)


def use_compilation_cache(folder: Path | None = None) -> None:
    """Let JAX keep what it compiles, unless the user has already chosen a folder for that.

    JAX writes entries atomically and keys them by program, version and processor, so that
    concurrent processes and upgrades are safe. A folder that cannot be written, or a user without a
    home, costs a warning and the time to compile, not the run.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore
        return
    try:
        folder = folder or cache_folder() / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home to keep it in
        _log.warning("Compiled code cannot be kept: %s", error)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Everything: a step's many small programs add up at each start.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
