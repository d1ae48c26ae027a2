"""Verifies that files have not changed since they were written.

The SHA-256 of a file is known from an export's manifest, from `SHA256SUMS` in its folder or in the
folder above (the format of `sha256sum`), or from its name in the Hub's cache. Hashing takes about
a second per gigabyte. So the device, inode, size and times of a verified file are noted, and it is
hashed again only when one of them has changed: every write changes the change time. `verify_all`
always hashes.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from pocket_tts_jax.files.atomic import atomic_file, remove_if_possible
from pocket_tts_jax.files.cache import cache_folder
from pocket_tts_jax.files.read import check_regular, read_text

_log = logging.getLogger(__name__)

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")
_LARGEST_SUMS = 1 << 20
_SETTLED_NS = 2_000_000_000
"""Within this time after a change a file can change again without a new change time."""
_UNUSED_SECONDS = 60 * 24 * 3600.0


def digest_of(path: Path, like: str = "0" * 64) -> str:
    """The SHA-256 of a file in hexadecimal, or, for `like` of 40 digits, Git's SHA-1 of it."""
    state = check_regular(path)
    with open(path, "rb") as file:
        if len(like) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha1(f"blob {state.st_size}\0".encode(), usedforsecurity=False)
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def is_intact(path: Path, digest: str, *, trust_stamp: bool = True) -> bool:
    """Whether a file has this SHA-256 (or Git SHA-1), by its noted state or by hashing it.

    Raises OSError for a file that cannot be read.
    """
    before = _state(path)
    place = _stamp_place(path)
    stamp = f"{digest} {before}"
    if trust_stamp and place is not None and _read_stamp(place) == stamp:
        return True
    if digest_of(path, digest) != digest or _state(path) != before:
        return False
    if place is not None and time.time_ns() - os.stat(path).st_ctime_ns > _SETTLED_NS:
        _write_stamp(place, stamp)
    return True


def recorded_digest(path: Path) -> str | None:
    """The SHA-256 of a file in `SHA256SUMS`, in its folder or the one above; None if not listed.

    Raises ValueError if `SHA256SUMS` is damaged.
    """
    path = Path(os.path.abspath(path))
    for folder in (path.parent, path.parent.parent):
        sums = folder / SUMS
        if not sums.is_file():
            continue
        found = _read_sums(sums).get(path.relative_to(folder).as_posix())
        if found is not None:
            return found
    return None


def damage(path: Path, *, trust_stamp: bool = True) -> str | None:
    """A sentence about what is wrong with a file listed in `SHA256SUMS`; None if it is intact or
    not listed."""
    try:
        digest = recorded_digest(path)
        if digest is None or is_intact(path, digest, trust_stamp=trust_stamp):
            return None
    except ValueError as error:
        return str(error)
    return f"{path} is damaged or was changed: its SHA-256 is not the one in {SUMS}."


def verify_all(folder: Path) -> list[str]:
    """Hash every file in `SHA256SUMS` of `folder`. Returns a sentence for each that is wrong."""
    try:
        sums = _read_sums(folder / SUMS)
    except (OSError, ValueError) as error:
        return [str(error)]
    return [
        f"{folder / name} is damaged or missing"
        for name, digest in sums.items()
        if not _is_there_and_intact(folder / name, digest)
    ]


def write_sums(folder: Path, digests: Mapping[str, str]) -> None:
    """Write `SHA256SUMS` for files of a folder, in the format of `sha256sum --check`."""
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    with atomic_file(folder / SUMS) as file:
        file.write("".join(lines).encode())


def sums_of(folder: Path) -> dict[str, str]:
    """Name and SHA-256 of every file under a folder, for `write_sums`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return {path.relative_to(folder).as_posix(): digest_of(path) for path in files}


def _read_sums(path: Path) -> dict[str, str]:
    sums = {}
    for line in read_text(path, _LARGEST_SUMS).splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{path} is damaged: {line[:60]!r} is no line of checksums.")
        sums[match[2]] = match[1]
    return sums


def _is_there_and_intact(path: Path, digest: str) -> bool:
    try:
        return is_intact(path, digest, trust_stamp=False)
    except OSError:
        return False


def _state(path: Path) -> str:
    state = check_regular(path)
    return " ".join(
        map(
            str,
            (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns),
        )
    )


def _stamp_place(path: Path) -> Path | None:
    folder = cache_folder("verified")
    if folder is None:
        return None
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    return folder / name


def _read_stamp(place: Path) -> str | None:
    try:
        return place.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def _write_stamp(place: Path, stamp: str) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as file:
            file.write(stamp.encode())
        for other in place.parent.iterdir():
            if time.time() - other.stat().st_mtime > _UNUSED_SECONDS:
                remove_if_possible(other)
    except OSError as error:
        _log.info("%s is hashed again at the next start: %s", place, error)
