"""Reads a corpus: a row for each text, from JSON lines, CSV or Parquet.

    {"id": "a-001", "text": "Hello.", "voice": "joe", "language": null, "seed": 7, "speed": 1.1}

`id` and `text` are required, further fields are ignored. A row that cannot be spoken is read as a
`BadRow` with its reason.
"""

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocket_tts_jax.audio.stretch import FASTEST, SLOWEST
from pocket_tts_jax.errors import ConfigError, ConfigNotFound
from pocket_tts_jax.files.read import parse_json

# An id is the name of a file, on any system.
_ID = re.compile(r"[\w-][\w .+=@-]{0,198}(?<![ .])")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LARGEST_SEED = 2**64 - 1
_FIELDS = ("id", "text", "voice", "language", "seed", "speed")


@dataclass(frozen=True, slots=True)
class Row:
    """A text to speak. `place` is its place in the corpus, from 0; `voice` and `language` None
    take the model's own and the command's model."""

    place: int
    id: str
    text: str
    voice: str | None
    language: str | None
    seed: int
    speed: float


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be spoken. `id` is None where it has none."""

    place: int
    id: str | None
    reason: str


def seed_of(id: str) -> int:
    """The seed of a row that names none: the first 64 bits of the SHA-256 of its id."""
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big")


def read_rows(
    path: str | Path, voice: str | None = None, speed: float = 1.0
) -> Iterator[Row | BadRow]:
    """The rows of a file ending in .jsonl, .csv or .parquet, in order.

    `voice` and `speed` are for rows that name none. An id may be there once; upper and lower case
    count as equal, as they do on some file systems. Raises ConfigError for a file that cannot be
    read.
    """
    path = Path(path).expanduser()
    readers = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path}: a corpus is a .jsonl, .csv or .parquet file.")
    if not path.is_file():
        raise ConfigNotFound(f"There is no corpus {path}: give the path of a file.")
    seen: set[str] = set()
    try:
        for place, found in enumerate(reader(path)):
            row = _row(place, found, voice, speed)
            if isinstance(row, Row):
                if row.id.casefold() in seen:
                    row = BadRow(place, row.id, "an earlier row has this id")
                else:
                    seen.add(row.id.casefold())
            yield row
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _json_lines(path: Path) -> Iterator[dict[str, Any] | ValueError]:
    with open(path, "rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                found = parse_json(line.decode("utf-8-sig"))
            except ValueError as error:
                yield ValueError(f"it is not JSON: {error}")
                continue
            yield found if isinstance(found, dict) else ValueError("it is not a JSON object")


def _csv(path: Path) -> Iterator[dict[str, Any] | ValueError]:
    # What is not UTF-8 becomes surrogates, which are refused in the row where they are.
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        missing = [name for name in ("id", "text") if name not in (rows.fieldnames or ())]
        if missing:
            raise ConfigError(f"{path} has no column {' and no '.join(missing)} in its first line.")
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield ValueError(f"it is not CSV: {error}")
                continue
            if None in row:
                yield ValueError("it has more fields than the first line: quote fields with commas")
            else:
                yield {name: value or None for name, value in row.items()}


def _parquet(path: Path) -> Iterator[dict[str, Any] | ValueError]:
    pyarrow = require_pyarrow()
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        missing = [name for name in ("id", "text") if name not in file.schema_arrow.names]
        if missing:
            raise ConfigError(f"{path} has no column {' and no '.join(missing)}.")
        wanted = [name for name in _FIELDS if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=wanted):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def require_pyarrow() -> Any:
    """The package pyarrow. Raises ConfigError where it is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise ConfigError(
            'Parquet needs the package pyarrow: pip install "pocket-tts-jax[parquet]".'
        ) from None
    return pyarrow


def _row(
    place: int, found: dict[str, Any] | ValueError, voice: str | None, speed: float
) -> Row | BadRow:
    if isinstance(found, ValueError):
        return BadRow(place, None, str(found))
    id = found.get("id")
    if isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    try:
        if not isinstance(id, str) or not _ID.fullmatch(id) or _RESERVED.fullmatch(id):
            raise ValueError(
                f"its id {id!r} is no name for a file: letters, digits and _-.+=@, up to 199"
            )
        if len(id.encode()) > 199:
            raise ValueError("its id has more than 199 bytes")
        return Row(
            place,
            id,
            _text(found.get("text")),
            _name(found, "voice") or voice,
            _name(found, "language"),
            _seed(found.get("seed"), id),
            _speed(found.get("speed"), speed),
        )
    except ValueError as error:
        return BadRow(place, id if isinstance(id, str) else None, str(error))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it has no text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("its text is not UTF-8") from None
    return value


def _name(found: dict[str, Any], field: str) -> str | None:
    value = found.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"its {field} is {value!r}, not a name")
    return value


def _seed(value: object, id: str) -> int:
    if _missing(value):
        return seed_of(id)
    try:
        seed = int(value)  # type: ignore[arg-type]
        # Tables have whole numbers as 7.0 where some rows have none.
        if isinstance(value, bool) or (isinstance(value, float) and seed != value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"its seed is {value!r}, not a whole number") from None
    if not 0 <= seed <= _LARGEST_SEED:
        raise ValueError(f"its seed is {seed}, not from 0 to {_LARGEST_SEED}")
    return seed


def _speed(value: object, default: float) -> float:
    if _missing(value):
        return default
    try:
        if isinstance(value, bool):
            raise ValueError
        speed = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"its speed is {value!r}, not a number") from None
    if not SLOWEST <= speed <= FASTEST:
        raise ValueError(f"its speed is {speed}, not from {SLOWEST} to {FASTEST}")
    return speed


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_json(row: BadRow) -> str:
    """A line of the list of bad rows; rows count from 1."""
    line = {"row": row.place + 1, "id": row.id, "reason": row.reason}
    return json.dumps(line, ensure_ascii=False) + "\n"
