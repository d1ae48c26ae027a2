"""A folder of speech: complete, once each, whatever happens on the way."""

import json
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pocket_tts_jax.bulk import output
from pocket_tts_jax.bulk.corpus import BAD_ROWS, CorpusFolder
from pocket_tts_jax.bulk.manifest import NAME
from pocket_tts_jax.bulk.rows import BadRow, Row
from pocket_tts_jax.bulk.speaker import Failed, Result, sha256_of
from pocket_tts_jax.errors import ConfigError
from tests.bulk.humming import RATE, hum, humming_rows

SETTINGS = {"model": "hum"}


def speak_in_twos(rows: Sequence[Row]) -> Generator[list[Result], None, None]:
    """From the last to the first: results come in any order."""
    found: list[Result] = [
        Failed(row, "it was to fail") if row.text.startswith("fail") else hum(row)
        for row in reversed(rows)
    ]
    for start in range(0, len(found), 2):
        yield found[start : start + 2]


def run(
    folder: Path, rows: Sequence[Row | BadRow], format: str = "flac", stop_after: int | None = None
) -> list[str]:
    """Speak what is missing; the ids of it. `stop_after` ends the run with an error."""
    count = 0

    def stop(results: list[Result]) -> None:
        nonlocal count
        count += 1
        if count == stop_after:
            raise KeyboardInterrupt

    with CorpusFolder(folder, format, SETTINGS) as corpus:
        todo = corpus.missing(rows)
        corpus.speak(todo, speak_in_twos, stop)
    return [row.id for row in todo]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def content(folder: Path) -> dict[str, str]:
    """The hash of the samples of each row, from the files; each must be as its line says."""
    found = {}
    for entry in lines(folder / NAME):
        samples, rate = soundfile.read(folder / entry["file"], dtype="int16")
        assert rate == RATE and entry["seconds"] == round(len(samples) / RATE, 4)
        found[entry["id"]] = sha256_of(samples / np.float32(32767))
        assert found[entry["id"]] == entry["sha256"]
    return found


def test_every_row_is_spoken_once(tmp_path: Path) -> None:
    rows = humming_rows(7)
    assert run(tmp_path, rows) == [row.id for row in rows]
    entries = lines(tmp_path / NAME)
    assert sorted(entry["id"] for entry in entries) == [row.id for row in rows]
    assert entries[0] | {"sha256": ""} == {
        "id": "row-6",
        "file": "audio/row-6.flac",
        "text": "Text number 6",
        "voice": "hum",
        "language": None,
        "seed": 6,
        "speed": 1.0,
        "seconds": round(1300 / RATE, 4),
        "chunks": [{"text": "Text number 6", "frames": 3, "eos": True}],
        "end_reached": True,
        "warnings": [],
        "sha256": "",
    }
    assert len(content(tmp_path)) == 7
    assert run(tmp_path, rows) == []


def test_a_run_goes_on_where_another_stopped(tmp_path: Path) -> None:
    rows = humming_rows(9)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, rows, stop_after=2)
    assert run(tmp_path, rows) == [row.id for row in rows[:5]]
    assert len(lines(tmp_path / NAME)) == len(content(tmp_path)) == 9


def test_a_torn_line_is_spoken_again(tmp_path: Path) -> None:
    rows = humming_rows(4)
    run(tmp_path, rows)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[:-20])
    assert run(tmp_path, rows) == ["row-0"]
    assert (tmp_path / NAME).read_bytes() == whole


def test_a_line_without_its_audio_is_spoken_again(tmp_path: Path) -> None:
    rows = humming_rows(4)
    run(tmp_path, rows)
    (tmp_path / "audio" / "row-2.flac").unlink()
    (tmp_path / "audio" / ".row-2.flac.0.part").write_bytes(b"unfinished")
    assert run(tmp_path, rows) == ["row-2"]
    assert len(lines(tmp_path / NAME)) == len(content(tmp_path)) == 4
    assert not list((tmp_path / "audio").glob(".*"))


def test_bad_rows_are_listed_and_tried_again(tmp_path: Path) -> None:
    rows = [*humming_rows(2), BadRow(2, None, "it is not JSON"), *humming_rows(1, "fail")]
    rows[3] = Row(3, "bad", "fail", None, None, 0, 1.0)
    assert run(tmp_path, rows) == ["row-0", "row-1", "bad"]
    assert lines(tmp_path / BAD_ROWS) == [
        {"row": 3, "id": None, "reason": "it is not JSON"},
        {"row": 4, "id": "bad", "reason": "it was to fail"},
    ]
    rows[3] = Row(3, "bad", "now good", None, None, 0, 1.0)
    assert run(tmp_path, rows) == ["bad"]
    assert len(content(tmp_path)) == 3


def test_an_id_with_another_text_is_refused(tmp_path: Path) -> None:
    run(tmp_path, humming_rows(2))
    assert run(tmp_path, humming_rows(2, "Another text")) == []
    reasons = {line["reason"] for line in lines(tmp_path / BAD_ROWS)}
    assert reasons == {"it was spoken with another text: give it another id"}


def test_languages_are_spoken_one_after_the_other(tmp_path: Path) -> None:
    rows = [Row(i, f"{i}", "x", None, ("french", None)[i % 2], 0, 1.0) for i in range(4)]
    assert run(tmp_path, rows) == ["1", "3", "0", "2"]


def test_warnings_tell_of_a_text_without_an_end(tmp_path: Path) -> None:
    run(tmp_path, [Row(0, "a", "endless", None, None, 0, 1.0)])
    (entry,) = lines(tmp_path / NAME)
    assert not entry["end_reached"] and "limit of 3 frames" in entry["warnings"][0]


def test_a_folder_is_for_one_way_of_speaking(tmp_path: Path) -> None:
    run(tmp_path, humming_rows(1))
    with pytest.raises(ConfigError, match="other settings, by format"):
        run(tmp_path, humming_rows(1), format="wav")
    with pytest.raises(ConfigError, match="other settings, by model"):
        CorpusFolder(tmp_path, "flac", {"model": "other"})


def test_a_folder_is_for_one_process(tmp_path: Path) -> None:
    with CorpusFolder(tmp_path, "flac", SETTINGS):
        with pytest.raises(ConfigError, match="Another process"):
            CorpusFolder(tmp_path, "flac", SETTINGS)
    assert run(tmp_path, humming_rows(1)) == ["row-0"]


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    run(tmp_path, humming_rows(2))
    (tmp_path / NAME).write_text("nonsense\n", encoding="utf-8")
    for _ in range(2):  # the folder is free again after the first error
        with pytest.raises(ConfigError, match="damaged"):
            run(tmp_path, humming_rows(2))


class TestParquet:
    """Many rows in a file; a part has the same rows however they came."""

    @pytest.fixture(autouse=True)
    def small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("pyarrow", reason="needs the package pyarrow")
        monkeypatch.setattr(output, "ROWS_IN_PART", 4)

    def parts(self, folder: Path) -> dict[str, list[str]]:
        from pyarrow import parquet

        return {
            path.name: [row["id"] for row in parquet.read_table(path).to_pylist()]
            for path in sorted((folder / "audio").iterdir())
        }

    def test_parts(self, tmp_path: Path) -> None:
        from pyarrow import parquet

        run(tmp_path, humming_rows(6), "parquet")
        assert self.parts(tmp_path) == {
            "part-000000.parquet": ["row-0", "row-1", "row-2", "row-3"],
            "part-000001.parquet": ["row-4", "row-5"],
        }
        entries = {entry["id"]: entry for entry in lines(tmp_path / NAME)}
        assert entries["row-5"]["file"] == "audio/part-000001.parquet"
        row = parquet.read_table(tmp_path / "audio" / "part-000001.parquet").to_pylist()[1]
        assert row["audio"]["bytes"] == hum(humming_rows(6)[5]).audio
        assert row["text"] == "Text number 5" and row["seconds"] == 1300 / RATE

    def test_a_run_that_stopped(self, tmp_path: Path) -> None:
        for folder in ("whole", "stopped"):
            (tmp_path / folder).mkdir()
        run(tmp_path / "whole", humming_rows(10), "parquet")
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", humming_rows(10), "parquet", stop_after=2)
        # Written just before a kill: it is in no line of the manifest.
        (tmp_path / "stopped" / "audio" / "part-000000.parquet").write_bytes(b"")
        run(tmp_path / "stopped", humming_rows(10), "parquet")
        for name in self.parts(tmp_path / "whole"):
            one, other = (
                (tmp_path / f / "audio" / name).read_bytes() for f in ("whole", "stopped")
            )
            assert one == other
        assert len(lines(tmp_path / "stopped" / NAME)) == 10

    def test_mended_rows_get_a_part_of_their_own(self, tmp_path: Path) -> None:
        rows = humming_rows(4)
        rows[1] = Row(1, "row-1", "fail", None, None, 1, 1.0)
        run(tmp_path, rows, "parquet")
        run(tmp_path, humming_rows(4), "parquet")
        assert self.parts(tmp_path) == {
            "part-000000-1.parquet": ["row-1"],
            "part-000000.parquet": ["row-0", "row-2", "row-3"],
        }
