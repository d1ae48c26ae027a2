"""XNNPACK's packed weights, kept in a file that later processes map instead of packing again.

Packing takes a second and, without a file, as much memory again for every signature. One file
serves one model file, one installation of LiteRT and one kind of processor; its name says which,
and ends in the SHA-256 of its contents. It is built aside by a process of its own, because XNNPACK
ends the process where it cannot write, and renamed when that has run the model from it.
"""

import errno
import hashlib
import logging
import os
import platform
import secrets
import shutil
import time
from pathlib import Path

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.files.atomic import remove_if_possible
from pocket_tts_jax.files.cache import cache_folder
from pocket_tts_jax.files.verify import digest_of, is_intact
from pocket_tts_jax.litert_engine import trial
from pocket_tts_jax.litert_engine.c_api import library_path

_log = logging.getLogger(__name__)

# XNNPACK's name for a cache in memory, which the signatures of a model share.
IN_MEMORY = ":memory"
# Free space required for a build, in sizes of the model file. Packed weights take about one.
_ROOM = 2
_UNUSED_SECONDS = 60 * 24 * 3600.0
_NOTED_SECONDS = 7 * 24 * 3600.0
_in_memory_works: set[str] = set()
"""Keys of models that were tried in memory during this process."""


def packed_weights(model: Path, sha256: str, folder: Path | None) -> str:
    """The path of the packed weights of a model file, which are built if necessary, or `IN_MEMORY`.

    `sha256` is that of the model file. The result is `IN_MEMORY` if `folder` is None, cannot be
    written or has no room, or if another process is building the same file. Raises GenerationError
    for a model that ends the process that opens it.
    """
    key = _key(sha256)
    if folder is not None and "\n" not in str(folder):  # LiteRT's options are lines of text
        found = _find(folder, key) or _build(model, folder, key)
        if found is not None:
            return str(found)
    _try_in_memory(model, key)
    return IN_MEMORY


def _find(folder: Path, key: str) -> Path | None:
    """The intact file for this key: its contents match the hash in its name."""
    for path in folder.glob(f"{key}-*.xnnpack"):
        try:
            if is_intact(path, path.stem.removeprefix(f"{key}-")):
                _note_use(path)
                return path
        except OSError as error:
            _log.info("%s cannot be read: %s", path, error)
            continue
        _log.warning("Packing the weights again: %s is damaged", path)
        remove_if_possible(path)
    return None


def _build(model: Path, folder: Path, key: str) -> Path | None:
    """Pack into a new file in `folder`; None if that is not possible now."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{key}.lock", timeout=0):
            for left in folder.glob(f"{key}.*.part"):  # left by processes that were killed
                remove_if_possible(left)
            return _find(folder, key) or _pack(model, folder, key)
    except Timeout:
        _log.info("Another process packs the weights of %s at this moment", model)
    except OSError as error:
        _log.info("No packed weights in %s (%s)", folder, error)
    return None


def _pack(model: Path, folder: Path, key: str) -> Path | None:
    _check_room(folder, _ROOM * model.stat().st_size)
    part = folder / f"{key}.{secrets.token_hex(4)}.part"
    try:
        if not trial.survives(model, str(part)) or not part.is_file():
            return None
        path = folder / f"{key}-{digest_of(part)}.xnnpack"
        os.replace(part, path)
    finally:
        remove_if_possible(part)
    _remove_unused(folder)
    return path


def _try_in_memory(model: Path, key: str) -> None:
    """Raise GenerationError if opening this model ends a process. Tried once per machine."""
    notes = cache_folder("opened")
    note = None if notes is None else notes / key
    if key in _in_memory_works or (note is not None and note.exists()):
        return
    if trial.survives(model, IN_MEMORY) is False:
        raise GenerationError(
            f"LiteRT cannot open {model}: it ends the process that tries. Export the model again, "
            "or raise the limits of this process (ulimit -v, ulimit -f)."
        )
    _in_memory_works.add(key)
    if note is not None:
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        except OSError as error:
            _log.info("%s is tried again next time (%s)", model, error)


def _check_room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise OSError(errno.ENOSPC, f"{free >> 20} MiB are free, packing wants {wanted >> 20}")


def _note_use(path: Path) -> None:
    """Keep a file that is in use from being removed; it is hashed again afterwards."""
    try:
        if time.time() - path.stat().st_mtime > _NOTED_SECONDS:
            os.utime(path)
    except OSError:
        pass  # a read-only folder, from which nothing is removed either


def _remove_unused(folder: Path) -> None:
    """Remove files of earlier versions of a model or of LiteRT, which are no longer loaded."""
    for path in folder.glob("*.*"):
        try:
            age = time.time() - path.stat().st_mtime
        except OSError:  # another process has just removed it
            continue
        if age > _UNUSED_SECONDS:
            remove_if_possible(path)


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
