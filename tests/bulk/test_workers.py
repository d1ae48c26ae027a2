"""Processes that speak rows, and that may end at any moment."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocket_tts_jax.bulk.rows import Row
from pocket_tts_jax.bulk.speaker import Failed, Result, Spoken
from pocket_tts_jax.bulk.workers import MOST_DEATHS, speak_in_processes
from pocket_tts_jax.errors import GenerationError
from tests.bulk.humming import Humming, hum, humming_rows


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def collect(found: Iterator[list[Result]]) -> dict[str, Result]:
    results = [result for some in found for result in some]
    by_id = {result.row.id: result for result in results}
    assert len(by_id) == len(results)
    return by_id


def processes(notes: Path, row: str) -> list[int]:
    """Those that have begun a row."""
    return [int(line) for line in (notes / row).read_text().split()]


def test_processes_share_the_rows(notes: Path) -> None:
    rows = humming_rows(30)
    found = collect(speak_in_processes(rows, Humming(notes, seconds=0.05), workers=2))
    assert found == {row.id: hum(row) for row in rows}
    used = {process for row in rows for process in processes(notes, row.id)}
    assert len(used) == 2 and os.getpid() not in used


def test_no_rows(notes: Path) -> None:
    assert collect(speak_in_processes([], Humming(notes), workers=2)) == {}


def test_rows_of_a_process_that_ends_are_spoken_by_another(notes: Path) -> None:
    rows = humming_rows(20)
    rows[5] = Row(5, "dies", "die once", None, None, 5, 1.0)
    found = collect(speak_in_processes(rows, Humming(notes), workers=1))
    assert found == {row.id: hum(row) for row in rows}
    assert len(set(processes(notes, "dies"))) == 2


def test_a_row_that_ends_every_process_is_given_up(notes: Path) -> None:
    rows = [Row(0, "dies", "die", None, None, 0, 1.0)]
    (result,) = collect(speak_in_processes(rows, Humming(notes), workers=1)).values()
    assert isinstance(result, Failed) and "code -9" in result.reason
    assert len(processes(notes, "dies")) == MOST_DEATHS


def test_a_row_that_fails_is_told(notes: Path) -> None:
    rows = [*humming_rows(3), Row(3, "bad", "fail", None, None, 0, 1.0)]
    found = collect(speak_in_processes(rows, Humming(notes), workers=1))
    assert found.pop("bad") == Failed(rows[3], "it was to fail")
    assert all(isinstance(result, Spoken) for result in found.values())


def test_a_model_that_cannot_be_loaded_is_an_error(notes: Path) -> None:
    with pytest.raises(ValueError, match="no such model"):
        collect(speak_in_processes(humming_rows(2), Humming(notes, 0, "no such model"), 1))
    with pytest.raises(GenerationError, match="while it loaded the model"):
        collect(speak_in_processes(humming_rows(2), Humming(notes, 0, "die"), 1))
