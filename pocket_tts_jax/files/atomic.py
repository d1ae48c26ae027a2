"""Atomic files: written beside their place, then renamed into it."""

import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_log = logging.getLogger(__name__)
_ABANDONED = 3600.0
"""Seconds without a write after which an unfinished file is taken for one of a killed process."""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a new binary file that replaces `path` when the block ends without an error.

    An error in the block (a full disk, a broken connection, Ctrl-C) removes what was written and
    leaves an older file at `path` as it was. The folder must exist. A killed process can leave a
    hidden `.NAME.XXXXXXXX.part` beside `path`, never a part of `path` itself.
    """
    # Replace the target of a link, not the link: users link to model folders.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        # "x" rather than a private temporary file: the result gets the user's usual permissions.
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_if_possible(path: Path) -> None:
    """Remove a cached file if the system allows it now."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # Windows: another process reads it now
        _log.info("%s stays in the cache for now: %s", path, error)


def remove_abandoned(folder: Path) -> None:
    """Remove unfinished files of killed processes from a folder that only `atomic_file` writes."""
    for part in folder.glob(".*.part"):
        try:
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()
        except OSError:
            continue  # another process removed it first, or still has it open
