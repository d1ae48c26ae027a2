"""Damage to files: the same for a seed, so that a figure can be made again."""

import random
from collections.abc import Callable, Iterator

Damage = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, rng: random.Random) -> bytes:
    """One bit; every second time in the first 400 bytes, where headers are."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 400)
    place = rng.randrange(end)
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def zero_block(data: bytes, rng: random.Random) -> bytes:
    """Up to 4 kB of zeros, as a disk leaves them that lost power."""
    place = rng.randrange(len(data))
    size = min(4096, len(data) - place)
    return data[:place] + bytes(size) + data[place + size :]


def grow(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 4096))


def swap(data: bytes, rng: random.Random) -> bytes:
    """Two blocks change places."""
    size = max(1, len(data) // 8)
    first, second = sorted(rng.randrange(len(data) - size + 1) for _ in range(2))
    second = max(second, min(first + size, len(data) - size))
    head, middle = data[:first], data[first + size : second]
    return (
        head
        + data[second : second + size]
        + middle
        + data[first : first + size]
        + data[second + size :]
    )


def hostile_header(data: bytes, rng: random.Random) -> bytes:
    """The largest and the smallest numbers in the place of four or eight bytes of the header."""
    size = rng.choice((4, 8))
    place = rng.randrange(max(1, min(len(data), 400) - size))
    return data[:place] + rng.choice((b"\xff", b"\x00", b"\x7f")) * size + data[place + size :]


KINDS: dict[str, Damage] = {
    "flip": flip,
    "truncate": truncate,
    "zero": zero_block,
    "grow": grow,
    "swap": swap,
    "header": hostile_header,
}


def damaged(data: bytes, kind: str, count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` copies with one damage each, all of them different from `data`."""
    rng = random.Random(f"{kind} {seed}")
    while count:
        result = KINDS[kind](data, rng)
        if result != data:
            count -= 1
            yield result
