"""XNNPACK's packed weights, kept in a file that later processes map instead of packing again.

Packing takes a second and, without a file, as much memory again for every signature. One file
serves one model file, one installation of LiteRT and one kind of processor; its name says which.
It is built aside by one process and renamed, so that a reader never meets half a file; a stamp
beside it records its size and time, so that a file changed afterwards is built again.
"""

import hashlib
import json
import logging
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.litert_c import library_path

_log = logging.getLogger(__name__)
Model = TypeVar("Model")

# What XNNPACK calls a cache that lives in memory. It is shared by the signatures of one model.
IN_MEMORY = ":memory"


def default_folder() -> Path:
    """The user's cache folder for packed weights."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("pocket-tts-jax")) / "xnnpack"


def load_with_cache(
    load: Callable[[str], Model], close: Callable[[Model], None], sha256: str, folder: Path | None
) -> Model:
    """Load a model with its packed weights.

    `load` gets the path of the weight cache and returns the model; `close` frees one. `sha256`
    identifies the model file. Where `folder` cannot be written, or another process is building
    the same file at this moment, the weights are packed into memory. None never uses a file.
    """
    if folder is None:
        return load(IN_MEMORY)
    path = folder / f"{_key(sha256)}.xnnpack"
    if _intact(path):
        try:
            return load(str(path))
        except GenerationError as error:
            _log.warning("Packing the weights again: %s could not be loaded (%s)", path, error)
            _remove(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        _log.info("No weight cache in %s (%s)", folder, error)
        return load(IN_MEMORY)
    try:
        if not _try_lock(lock):
            return load(IN_MEMORY)
        if not _intact(path) and not _build(load, close, path):
            return load(IN_MEMORY)
        return load(str(path))
    finally:
        os.close(lock)  # releases it


def _build(load: Callable[[str], Model], close: Callable[[Model], None], path: Path) -> bool:
    """Pack into a new file beside `path` and rename it; False where that is not possible."""
    handle, name = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    part.unlink()  # XNNPACK takes an existing file for a finished cache
    try:
        close(load(name))
        if not part.is_file():
            return False
        os.replace(part, path)
        state = path.stat()
        stamp = json.dumps({"size": state.st_size, "mtime_ns": state.st_mtime_ns})
        stamp_part = part.with_suffix(".stamp-part")
        stamp_part.write_text(stamp)
        os.replace(stamp_part, _stamp(path))
        return True
    except OSError as error:
        _log.info("No weight cache in %s (%s)", path.parent, error)
        return False
    finally:
        part.unlink(missing_ok=True)


def _intact(path: Path) -> bool:
    try:
        state, stamp = path.stat(), json.loads(_stamp(path).read_text())
        return stamp == {"size": state.st_size, "mtime_ns": state.st_mtime_ns}
    except (OSError, ValueError):
        return False


def _remove(path: Path) -> None:
    for stale in (_stamp(path), path):
        try:
            stale.unlink(missing_ok=True)
        except OSError:
            return


def _stamp(path: Path) -> Path:
    return path.with_suffix(".json")


def _key(sha256: str) -> str:
    # The library's file and not its package's version, whose look-up costs 30 ms and 3 MB.
    library = library_path().stat()
    version = f"{library.st_size} {library.st_mtime_ns}"
    described = "\n".join([sha256, version, platform.machine(), _processor()])
    return hashlib.sha256(described.encode()).hexdigest()[:32]


def _processor() -> str:
    """What decides the layout of packed weights: the model of the CPU and its features."""
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
