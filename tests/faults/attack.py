"""Damage files and count what comes of it: `python -m tests.faults.attack --flips 2000`.

Every damaged file is read in a child process, a batch at a time: a crash is counted and told with
its seed. Exit status 1 where anything but an error of this package or a right answer came.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from pocket_tts_jax.errors import TTSError
from pocket_tts_jax.testing.tiny_model import write_model
from tests.faults.damage import damaged
from tests.faults.subjects import Subject, subjects

BATCH = 100
LONGEST_SECONDS = 5.0


def outcome(subject: Subject, data: bytes) -> str:
    """ "refused", "accepted", or what must not be: "silent", "slow", the name of another error."""
    subject.path.write_bytes(data)
    start = time.monotonic()
    try:
        with np.errstate(all="ignore"):  # numbers of a file without a checksum may be any
            subject.read()
        result = "silent" if subject.verified else "accepted"
    except TTSError:
        result = "refused"
    except BaseException as error:
        return type(error).__name__
    return result if time.monotonic() - start < LONGEST_SECONDS else "slow"


def attack(subject: Subject, kind: str, count: int) -> Counter[str]:
    """The outcomes of `count` damages of one kind; the file is whole again afterwards."""
    original = subject.path.read_bytes()
    files, found = list(damaged(original, kind, count)), Counter[str]()
    try:
        start = 0
        while start < len(files):
            start += _batch(subject, files[start : start + BATCH], found)
    finally:
        subject.path.write_bytes(original)
    subject.read()
    return found


def _batch(subject: Subject, files: list[bytes], found: Counter[str]) -> int:
    """Outcomes of files read in a child; how many were read, the one it died of included."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # panics of Rust code
        logging.disable(logging.CRITICAL)
        for data in files:
            os.write(send, f"{outcome(subject, data)}\n".encode())
        os._exit(0)
    os.close(send)
    with open(receive, encoding="ascii") as pipe:
        outcomes = pipe.read().split()
    _, status = os.waitpid(child, 0)
    found.update(outcomes)
    if status != 0:
        found["crash"] += 1
        return len(outcomes) + 1
    return len(outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--truncations", type=int, default=500)
    parser.add_argument("--blocks", type=int, default=300, help="of zeros")
    parser.add_argument("--others", type=int, default=50, help="of each other kind of damage")
    parser.add_argument("--export", type=Path, required=True, help="an export of the tiny model")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="kinds of files; default: all")
    args = parser.parse_args()
    counts = {"flip": args.flips, "truncate": args.truncations, "zero": args.blocks}
    counts |= dict.fromkeys(("grow", "swap", "header"), args.others)
    total = Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        model = write_model(Path(place) / "tiny")
        targets = subjects(model, args.export, Path(place))
        for name in args.only or targets:
            subject = targets[name]
            found = Counter[str]()
            for kind, count in counts.items():
                found += attack(subject, kind, count)
            print(f"{name:28} {dict(found)}", flush=True)
            total += found
    print(f"{'all':28} {dict(total)}")
    sys.exit(bool(set(total) - {"refused", "accepted"}))


if __name__ == "__main__":
    main()
