"""Where speech is kept: a file for each row, or Parquet files of many rows.

Only the process that reads the corpus writes. What `add` returns is safe on disk.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pocket_tts_jax.bulk.rows import Row, require_pyarrow
from pocket_tts_jax.bulk.speaker import Failed, Result, Spoken
from pocket_tts_jax.files.atomic import atomic_file, sync_folder

ENCODINGS = {"flac": "flac", "wav": "wav", "ogg": "ogg", "parquet": "flac"}
"""The format of each row's audio, for each format of a folder."""
ROWS_IN_PART = 256  # of a Parquet file: some 30 MB, which are in memory until it is complete

Entry = dict[str, Any]


class Output(Protocol):
    """One folder of audio."""

    def present(self) -> list[str]:
        """Names of the files that are there, as the manifest has them."""
        ...

    def begin(self, todo: Sequence[Row], entries: Mapping[str, Entry]) -> None:
        """Prepare for the rows that are spoken now; `entries` are those that were before."""
        ...

    def add(self, results: Iterable[Result]) -> list[Entry]:
        """Keep what was spoken. Returns the lines for the manifest of all that is on disk now."""
        ...


def open_output(folder: Path, format: str) -> Output:
    """The output in `folder`; `format` is one of ENCODINGS. Nobody else may write there."""
    place = folder / "audio"
    place.mkdir(parents=True, exist_ok=True)
    for part in place.glob(".*.part"):  # of a run that was killed
        part.unlink()
    return Parts(place) if format == "parquet" else Files(place, format)


class Files:
    """A file for each row, named by its id."""

    def __init__(self, place: Path, format: str) -> None:
        self._place = place
        self._ending = format

    def present(self) -> list[str]:
        return _names(self._place)

    def begin(self, todo: Sequence[Row], entries: Mapping[str, Entry]) -> None:
        pass

    def add(self, results: Iterable[Result]) -> list[Entry]:
        entries = []
        for spoken in results:
            if isinstance(spoken, Spoken):
                path = self._place / f"{spoken.row.id}.{self._ending}"
                with atomic_file(path) as file:
                    file.write(spoken.audio)
                entries.append(_entry(spoken, path))
        if entries:
            sync_folder(self._place)
        return entries


class Parts:
    """Parquet files, each of `ROWS_IN_PART` neighbours in the corpus, with FLAC in `audio`.

    A part is written when the last of its rows was spoken. Which rows it has does not depend on
    the order in which they are spoken.
    """

    def __init__(self, place: Path) -> None:
        require_pyarrow()
        self._place = place
        self._expected: Counter[int] = Counter()
        self._settled: Counter[int] = Counter()
        self._spoken: dict[int, list[Spoken]] = {}

    def present(self) -> list[str]:
        return _names(self._place)

    def begin(self, todo: Sequence[Row], entries: Mapping[str, Entry]) -> None:
        known = {entry["file"] for entry in entries.values()}
        for name in self.present():
            if name not in known:  # written just before a run was killed; its rows come again
                (self._place.parent / name).unlink()
        self._expected = Counter(_part_of(row) for row in todo)

    def add(self, results: Iterable[Result]) -> list[Entry]:
        entries: list[Entry] = []
        for result in results:
            part = _part_of(result.row)
            self._settled[part] += 1
            spoken = self._spoken.setdefault(part, [])
            if not isinstance(result, Failed):
                spoken.append(result)
            if self._settled[part] == self._expected[part]:
                entries += self._write(part, self._spoken.pop(part))
        if entries:
            sync_folder(self._place)
        return entries

    def _write(self, part: int, spoken: list[Spoken]) -> list[Entry]:
        if not spoken:
            return []
        from pyarrow import Table, parquet

        spoken.sort(key=lambda one: one.row.place)
        path = self._free(part)
        with atomic_file(path) as file:
            parquet.write_table(Table.from_pylist([_record(one) for one in spoken]), file)
        return [_entry(one, path) for one in spoken]

    def _free(self, part: int) -> Path:
        """The file of a part; a later one for rows that were mended after it was written."""
        path, again = self._place / f"part-{part:06}.parquet", 0
        while path.exists():
            again += 1
            path = self._place / f"part-{part:06}-{again}.parquet"
        return path


def _part_of(row: Row) -> int:
    return row.place // ROWS_IN_PART


def _names(place: Path) -> list[str]:
    return [f"{place.name}/{path.name}" for path in place.iterdir() if path.name[0] != "."]


def _record(spoken: Spoken) -> dict[str, Any]:
    """A row of a Parquet file; `audio` is as the package `datasets` reads it."""
    row = spoken.row
    return {
        "id": row.id,
        "text": row.text,
        "voice": spoken.voice,
        "language": row.language or "",
        "speed": row.speed,
        "seconds": spoken.seconds,
        "audio": {"bytes": spoken.audio, "path": f"{row.id}.{ENCODINGS['parquet']}"},
    }


def _entry(spoken: Spoken, path: Path) -> Entry:
    """The line of the manifest."""
    row = spoken.row
    return {
        "id": row.id,
        "file": f"{path.parent.name}/{path.name}",
        "text": row.text,
        "voice": spoken.voice,
        "language": row.language,
        "seed": row.seed,
        "speed": row.speed,
        "seconds": round(spoken.seconds, 4),
        "chunks": [
            {name: chunk[name] for name in ("text", "frames", "eos")} for chunk in spoken.chunks
        ],
        "end_reached": all(chunk["eos"] for chunk in spoken.chunks),
        "warnings": spoken.warnings,
        "sha256": spoken.sha256,
    }
