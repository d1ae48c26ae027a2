"""The signatures of a `.tflite` file: their names, and a file cut down to some of them.

Only these few fields are read, with the standard library: a table starts with the distance back to
its vtable, which holds the distance of each field (https://flatbuffers.dev/internals); the numbers
of the fields are those of LiteRT's `schema.fbs`.
"""

import struct
from collections.abc import Collection
from typing import Any

_SUBGRAPHS, _SIGNATURES = 2, 7  # of a model
_OPERATORS = 3  # of a subgraph
_KEY, _SUBGRAPH_INDEX = 2, 4  # of a signature


def signature_names(data: Any) -> list[str]:
    """The names in a file, given as a buffer."""
    return [name for name, _, _ in _signatures(data)]


def keep_signatures(data: Any, names: Collection[str]) -> list[tuple[int, int]]:
    """Remove all other signatures from a writable buffer, and their subgraphs with them.

    The subgraphs keep their indices: the smallest one takes the places of those that go. Returns
    the (start, end) of what was written.
    """
    model = _target(data, 0)
    subgraphs, count = _vector(data, model, _SUBGRAPHS)
    signatures, _ = _vector(data, model, _SIGNATURES)
    kept = [(at, index) for name, at, index in _signatures(data) if name in names]
    needed = {index for _, index in kept}
    places = [_target(data, subgraphs + 4 * index) for index in range(count)]
    smallest = min(places, key=lambda at: _vector(data, at, _OPERATORS)[1])
    for index in range(count):
        if index not in needed:
            _point(data, subgraphs + 4 * index, smallest)
    for entry, (at, _) in enumerate(kept):
        _point(data, signatures + 4 * entry, at)
    struct.pack_into("<I", data, signatures - 4, len(kept))
    return [
        (subgraphs, subgraphs + 4 * count),
        (signatures - 4, signatures + 4 * len(kept)),
    ]


def _signatures(data: Any) -> list[tuple[str, int, int]]:
    """(name, offset, index of the subgraph) of each signature."""
    entries, count = _vector(data, _target(data, 0), _SIGNATURES)
    found = []
    for entry in range(count):
        at = _target(data, entries + 4 * entry)
        key = _target(data, _required(data, at, _KEY))
        name = bytes(data[key + 4 : key + 4 + _unsigned(data, key)]).decode()
        place = _field(data, at, _SUBGRAPH_INDEX)
        found.append((name, at, 0 if place is None else _unsigned(data, place)))
    return found


def _unsigned(data: Any, at: int) -> int:
    return struct.unpack_from("<I", data, at)[0]


def _target(data: Any, at: int) -> int:
    """Where the offset at `at` points."""
    return at + _unsigned(data, at)


def _point(data: Any, at: int, target: int) -> None:
    """Let the offset at `at` point to `target`, which always lies behind it in this format."""
    struct.pack_into("<I", data, at, target - at)


def _field(data: Any, table: int, number: int) -> int | None:
    """Where a field of a table stands; None if it has its default."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", data, vtable)[0]:
        return None
    distance = struct.unpack_from("<H", data, vtable + place)[0]
    return table + distance if distance else None


def _required(data: Any, table: int, number: int) -> int:
    place = _field(data, table, number)
    if place is None:
        raise ValueError(f"a table has no field {number}")
    return place


def _vector(data: Any, table: int, number: int) -> tuple[int, int]:
    """Where the first entry of a vector in a field stands, and the number of entries."""
    place = _field(data, table, number)
    if place is None:
        return 0, 0
    start = _target(data, place)
    return start + 4, _unsigned(data, start)
