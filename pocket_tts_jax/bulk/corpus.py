"""Speaks a corpus into a folder, and goes on with one that was begun.

FOLDER/audio/ID.flac     a file for each row, or Parquet files of many
FOLDER/manifest.jsonl    a line for each spoken row
FOLDER/bad_rows.jsonl    the rows that this run could not speak, with reasons
FOLDER/settings.json     by what they are spoken
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from filelock import FileLock, Timeout

from pocket_tts_jax.bulk.manifest import Manifest, claim_folder, difference
from pocket_tts_jax.bulk.output import open_output
from pocket_tts_jax.bulk.rows import BadRow, Row, as_json
from pocket_tts_jax.bulk.speaker import Failed, Result, Spoken
from pocket_tts_jax.errors import ConfigError

BAD_ROWS = "bad_rows.jsonl"
SpeakRows = Callable[[Sequence[Row]], Generator[list[Result], None, None]]


@dataclass
class Tally:
    """What a run has done. `seconds` are of audio; the rows that an earlier run spoke are `kept`
    and not counted in the others."""

    kept: int = 0
    spoken: int = 0
    bad: int = 0
    seconds: float = 0.0


class CorpusFolder:
    """A folder that this process writes speech to; `with` releases it.

    `format` is one of `output.ENCODINGS`. Raises ConfigError for a folder that was begun with other
    `settings`, or that another process writes to.
    """

    def __init__(self, folder: Path, format: str, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        claim_folder(folder, {"format": format} | dict(settings))
        self._lock = FileLock(folder / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise ConfigError(f"Another process speaks into {folder}: wait for its end.") from None
        self.tally = Tally()
        try:
            self._output = open_output(folder, format)
            self._manifest = Manifest(folder, self._output.present())
            self._bad: TextIO = open(folder / BAD_ROWS, "w", encoding="utf-8")
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manifest.close()
        self._bad.close()
        self._lock.release()

    def missing(self, rows: Iterable[Row | BadRow]) -> list[Row]:
        """The rows that are still to be spoken, those of one language together."""
        found: list[Row] = []
        for row in rows:
            if isinstance(row, BadRow):
                self._refuse(row)
                continue
            entry = self._manifest.entries.get(row.id)
            if entry is None:
                found.append(row)
            elif (field := difference(entry, row)) is not None:
                reason = f"it was spoken with another {field}: give it another id"
                self._refuse(BadRow(row.place, row.id, reason))
            else:
                self.tally.kept += 1
        return sorted(found, key=lambda row: (row.language or "", row.place))

    def speak(
        self,
        todo: Sequence[Row],
        speak: SpeakRows,
        on_results: Callable[[list[Result]], None] = lambda results: None,
    ) -> None:
        """Speak the rows that `missing` returned. `on_results` is called with what was spoken,
        before the next is waited for."""
        self._output.begin(todo, self._manifest.entries)
        with closing(speak(todo)) as found:
            for results in found:
                self._keep(results)
                on_results(results)

    def _keep(self, results: list[Result]) -> None:
        entries = self._output.add(results)
        if entries:
            self._manifest.add(entries)
        for result in results:
            if isinstance(result, Failed):
                self._refuse(BadRow(result.row.place, result.row.id, result.reason))
            elif isinstance(result, Spoken):
                self.tally.spoken += 1
                self.tally.seconds += result.seconds

    def _refuse(self, row: BadRow) -> None:
        self._bad.write(as_json(row))
        self._bad.flush()
        self.tally.bad += 1
