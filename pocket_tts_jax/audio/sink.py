"""Opens what audio is written to: paths, standard output, pipes, open files."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from pocket_tts_jax.errors import AudioError
from pocket_tts_jax.files.atomic import atomic_file

Target = str | Path | BinaryIO
"""A path, "-" for standard output, or an open binary file."""


@contextmanager
def open_sink(target: Target, in_place: bool) -> Iterator[BinaryIO]:
    """The open binary file behind `target`.

    A path is replaced when the block ends without an error; with `in_place` it is written directly.
    Raises AudioError for a target that cannot be written, and for a terminal.
    """
    if not isinstance(target, str | Path):
        yield target
    elif str(target) == "-":
        if sys.stdout is None:
            raise AudioError("Standard output is closed: name a file instead of -.")
        yield _no_terminal(sys.stdout.buffer)
    else:
        with _opened(Path(target).expanduser(), in_place) as file:
            yield _no_terminal(file)


def _no_terminal(file: BinaryIO) -> BinaryIO:
    if file.isatty():
        raise AudioError(
            "Audio is not written to a terminal: pipe it to a player or a file, or name a file."
        )
    return file


@contextmanager
def _opened(path: Path, in_place: bool) -> Iterator[BinaryIO]:
    """A new file at `path`; only the errors of opening and closing it become AudioError."""
    inner: BaseException | None = None
    try:
        with _open(path, in_place) as file:
            try:
                yield file
            except BaseException as error:
                inner = error
                raise
    except OSError as error:
        if error is inner or isinstance(error, BrokenPipeError):  # closing may raise it again
            raise
        raise AudioError(
            f"{path} cannot be written: {error.strerror or error}. Check that its folder exists "
            "and that there is room, or choose another place."
        ) from error


def _open(path: Path, in_place: bool) -> AbstractContextManager[BinaryIO]:
    if in_place and (path.is_file() or not path.exists()):
        return open(path, "w+b")
    return atomic_file(path)  # devices and named pipes too


def rewindable(file: BinaryIO) -> int | None:
    """The position of `file` if it can be overwritten from there later, else None."""
    try:
        if not file.seekable() or _appends(file):
            return None
        return file.tell()
    except (OSError, AttributeError):
        return None


def _appends(file: BinaryIO) -> bool:
    """Whether every write goes to the end, as after `>>` in a shell."""
    if sys.platform == "win32":
        return "a" in getattr(file, "mode", "")
    import fcntl

    try:
        return bool(fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_APPEND)
    except (OSError, AttributeError):
        return False  # in memory


def is_disk_file(file: BinaryIO) -> bool:
    """Whether libsndfile can write through the file's descriptor, from its first byte on."""
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and rewindable(file) == 0
    except (OSError, AttributeError):
        return False
