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
_unfinished: set[Path] = set()


@contextmanager
def atomic_file(path: str | Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Open a new binary file that replaces `path` when the block ends without an error.

    An error in the block (a full disk, a broken connection, Ctrl-C) removes the new file and keeps
    an older one at `path`. The folder must exist. A killed process can leave a hidden
    `.NAME.XXXXXXXX.part` beside `path`, but never an incomplete `path`. `private` makes the file
    readable by its owner only. A device or a named pipe is written to as it is: no file can be
    renamed over it.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with open(path, "wb") as file:
            yield file
        return
    # Replace the target of a link, not the link: users link to model folders.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    _unfinished.add(temporary)
    try:
        # "x" instead of a temporary file, so that it has the user's usual permissions.
        with open(temporary, "x+b", opener=_open_private if private else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        _unfinished.discard(temporary)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def sync_folder(folder: Path) -> None:
    """Make the names of new files in a folder last through a loss of power."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(path: Path) -> None:
    """Make a folder that only its owner can read, if it does not exist."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def remove_if_possible(path: Path) -> None:
    """Remove a cached file if the system allows it now."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # Windows: another process reads it now
        _log.info("%s stays in the cache for now: %s", path, error)


def remove_unfinished() -> None:
    """Remove the files that this process is writing. Only for a process that ends at once."""
    for temporary in list(_unfinished):
        remove_if_possible(temporary)


def remove_abandoned(folder: Path) -> None:
    """Remove unfinished files of killed processes from a folder that only `atomic_file` writes."""
    for part in folder.glob(".*.part"):
        try:
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()
        except OSError:
            continue  # another process removed it first, or still has it open
