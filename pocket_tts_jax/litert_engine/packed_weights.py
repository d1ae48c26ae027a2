"""XNNPACK's packed weights, kept in a file that later processes map instead of packing again.

Packing takes a second and, without a file, as much memory again for every signature. One file
serves one model file, one installation of LiteRT and one kind of processor; its name says which.
It is built aside by one process and renamed, so that a reader never meets half a file; a stamp
beside it records its size and time, so that a file changed afterwards is built again. Nothing is
built on a disk that it could fill: XNNPACK ends the process where it cannot write on.
"""

import errno
import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.files.atomic import remove_if_possible
from pocket_tts_jax.litert_engine.c_api import library_path

_log = logging.getLogger(__name__)
Model = TypeVar("Model")

# XNNPACK's name for a cache in memory, which the signatures of a model share.
IN_MEMORY = ":memory"
# Free space required for a build, in sizes of the model file. Packed weights take about one.
_ROOM = 2
_UNUSED_SECONDS = 60 * 24 * 3600.0


def load_with_cache(
    load: Callable[[str], Model],
    close: Callable[[Model], None],
    sha256: str,
    size: int,
    folder: Path | None,
) -> Model:
    """Load a model with its packed weights.

    `load` gets the path of the weight cache and returns the model; `close` frees one. `sha256`
    and `size` (in bytes) are the model file's. Where `folder` cannot be written or has no room, or
    another process is building the same file at this moment, the weights are packed into memory.
    None never uses a file.
    """
    if folder is None:
        return load(IN_MEMORY)
    path = folder / f"{_key(sha256)}.xnnpack"
    if _intact(path):
        _note_use(path)
        try:
            return load(str(path))
        except GenerationError as error:
            _log.warning("Packing the weights again: %s could not be loaded (%s)", path, error)
            for stale in (_stamp(path), path):
                remove_if_possible(stale)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        _log.info("No weight cache in %s (%s)", folder, error)
        return load(IN_MEMORY)
    try:
        if not _try_lock(lock):
            return load(IN_MEMORY)
        if not _intact(path) and not _build(load, close, path, size):
            return load(IN_MEMORY)
        return load(str(path))
    finally:
        os.close(lock)  # releases it


def _build(
    load: Callable[[str], Model], close: Callable[[Model], None], path: Path, size: int
) -> bool:
    """Pack into a new file beside `path` and rename it; False where that is not possible. The
    caller holds the lock, so that what others left half-built is nobody's."""
    for left in path.parent.glob(f"{path.stem}.*part"):
        remove_if_possible(left)
    part = None
    try:
        _check_room(path.parent, _ROOM * size)
        handle, name = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=".part", dir=path.parent)
        part = Path(name)
        os.close(handle)
        part.unlink()  # XNNPACK takes an existing file for a finished cache
        close(load(name))
        if not part.is_file():
            return False
        os.replace(part, path)
        state = path.stat()
        stamp = json.dumps({"size": state.st_size, "mtime_ns": state.st_mtime_ns})
        stamp_part = part.with_suffix(".stamp-part")
        stamp_part.write_text(stamp)
        os.replace(stamp_part, _stamp(path))
        _remove_unused(path.parent)
        return True
    except OSError as error:
        _log.info("No weight cache in %s (%s)", path.parent, error)
        return False
    finally:
        if part is not None:
            remove_if_possible(part)


def _check_room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise OSError(errno.ENOSPC, f"{free >> 20} MiB are free, packing wants {wanted >> 20}")


def _note_use(path: Path) -> None:
    try:
        os.utime(_stamp(path))
    except OSError:
        pass  # a read-only folder, from which nothing is removed either


def _remove_unused(folder: Path) -> None:
    """Remove files of earlier versions of a model or of LiteRT, which are no longer loaded."""
    for stamp in folder.glob("*.json"):
        try:
            age = time.time() - stamp.stat().st_mtime
        except OSError:  # another process has just removed it
            continue
        if age > _UNUSED_SECONDS:
            remove_if_possible(stamp)
            remove_if_possible(stamp.with_suffix(".xnnpack"))


def _intact(path: Path) -> bool:
    try:
        state, stamp = path.stat(), json.loads(_stamp(path).read_text())
        return stamp == {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    except (OSError, ValueError):
        return False


def _stamp(path: Path) -> Path:
    return path.with_suffix(".json")


def _key(sha256: str) -> str:
    # The library's file instead of its package's version: looking that up takes 30 ms and 3 MB.
    library = library_path().stat()
    version = f"{library.st_size} {library.st_mtime_ns}"
    described = "\n".join([sha256, version, platform.machine(), _processor()])
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def _processor() -> str:
    """The model and features of the CPU, on which the layout of packed weights depends."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(line for line in lines if line.startswith(wanted))


def _try_lock(descriptor: int) -> bool:
    """Take the file lock without waiting; it goes with the descriptor, or with the process."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
