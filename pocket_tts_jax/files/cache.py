"""The user's cache folder: one root for everything that this package keeps."""

import logging
from pathlib import Path

_log = logging.getLogger(__name__)


def cache_folder(name: str) -> Path | None:
    """The folder for one kind of files: "downloads", "exports", "voices", "compiled" (by JAX) or
    "packed" (XNNPACK's weights). It is not created here. None, with a warning in the log, for a
    user without a home folder; nothing is cached then.
    """
    from platformdirs import user_cache_path

    try:
        return user_cache_path("pocket-tts-jax", appauthor=False) / name
    except RuntimeError as error:
        _log.warning("Nothing is kept under %r: %s", name, error)
        return None
