"""The command `synthesize` with a real export: the same samples however a corpus is spoken."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from exporters.manifest import refresh_files
from pocket_tts_jax.bulk import corpus as corpus_room
from pocket_tts_jax.bulk.manifest import NAME
from pocket_tts_jax.bulk.rows import Row, read_rows
from pocket_tts_jax.bulk.speaker import Failed, Result, SpeakerOptions, Spoken
from pocket_tts_jax.cli import synthesize
from tests.cli_stub import run_cli
from tests.exported import copy_of_export, tiny_export
from tests.folders import ROOT
from tests.patience import PATIENCE

WORDS = "one two three four five six seven eight nine ten".split()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 40 rows of unequal length and pace, the last of which has no text."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    lines = [
        {"id": f"row {i}", "text": " ".join(draw.choices(WORDS, k=draw.randint(1, 9))) + "."}
        | ({"speed": 1.25} if i % 5 == 0 else {})
        for i in range(40)
    ]
    text = "".join(json.dumps(line) + "\n" for line in [*lines, {"id": "empty", "text": ""}])
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def options() -> SpeakerOptions:
    return SpeakerOptions(model=str(tiny_export()), temperature=0.5)


def hashes(folder: Path) -> dict[str, str]:
    """The hash of the samples of each row, by the manifest, which has no row twice."""
    lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    found = {entry["id"]: entry["sha256"] for entry in map(json.loads, lines)}
    assert len(found) == len(lines)
    return found


def arguments(corpus: Path, out: Path, *more: object) -> list[str]:
    given = ["synthesize", corpus, "--out", out, "--model", tiny_export(), "--temperature", "0.5"]
    return [str(argument) for argument in (*given, *more)]


def speak_here(options: SpeakerOptions, rows: Sequence[Row], streams: int) -> dict[str, str]:
    """The hashes of rows that are spoken in this process, so many at a time."""
    speaker = options()
    with ThreadPoolExecutor(streams) as pool:
        results = list(pool.map(speaker.speak, rows))
    speaker.close()
    assert all(isinstance(result, Spoken) for result in results), results
    return {result.row.id: result.sha256 for result in results if isinstance(result, Spoken)}


def test_neighbours_change_no_sample(rows: Path, options: SpeakerOptions) -> None:
    """One at a time, and eight at a time in any order: the same samples."""
    some = [row for row in read_rows(rows) if isinstance(row, Row)][:12]
    alone = speak_here(options, some, 1)
    assert len(set(alone.values())) == len(some)
    random.Random(1).shuffle(some)
    assert speak_here(options, some, 8) == alone


def test_other_voices_and_languages(options: SpeakerOptions, tmp_path: Path) -> None:
    """A voice or a language that is not there is the row's error and not the others'."""
    row = Row(0, "a", "one two.", None, None, 1, 1.0)
    speaker = options()
    wrong = [replace(row, voice="nobody"), replace(row, language="klingon")]
    for one, reason in zip(wrong, ("nobody", "klingon"), strict=True):
        result = speaker.speak(one)
        assert isinstance(result, Failed) and reason in result.reason
    assert isinstance(speaker.speak(row), Spoken)
    speaker.close()


def test_the_command(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def speak(how, workers, ray, rows: Sequence[Row]) -> Iterator[list[Result]]:
        asked.append((how, workers, ray))
        speaker = how()
        yield [speaker.speak(row) for row in rows[:2]]
        speaker.close()

    monkeypatch.setattr(synthesize, "_speak", speak)
    result = run_cli(*arguments(rows, tmp_path / "out", "--workers", 3, "--format", "wav"))
    assert result.exit_code == 1 and "1 rows were not spoken" in result.stderr
    assert "2 rows" in result.stderr
    (how, workers, ray) = asked[0]
    assert (how.format, how.temperature, workers, ray) == ("wav", 0.5, 3, None)
    assert len(list((tmp_path / "out" / "audio").glob("*.wav"))) == 2
    bad = json.loads((tmp_path / "out" / corpus_room.BAD_ROWS).read_text())
    assert bad == {"row": 41, "id": "empty", "reason": "it has no text"}


def test_a_folder_is_for_one_model(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export may come back with the same name and transformer, and another decoder."""
    monkeypatch.setattr(synthesize, "_speak", lambda *_: iter(()))
    model = copy_of_export(tmp_path)
    given = ["synthesize", rows, "--out", tmp_path / "out", "--model", model]
    assert run_cli(*map(str, given)).exit_code == 1  # of the row without text
    decoder = model / "mimi_decoder.tflite"
    decoder.write_bytes(decoder.read_bytes() + bytes(16))
    refresh_files(model)
    result = run_cli(*map(str, given))
    assert "begun with other settings, by weights" in result.stderr


@pytest.mark.parametrize(
    ("more", "address"),
    [(["--ray"], "local"), (["--ray", "auto"], "auto"), (["--ray", "--quiet"], "local")],
)
def test_ray_with_and_without_an_address(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], address: str
) -> None:
    asked = []

    def speak(how, workers, ray, rows: Sequence[Row]) -> Iterator[list[Result]]:
        asked.append(ray)
        return iter(())

    monkeypatch.setattr(synthesize, "_speak", speak)
    run_cli(*arguments(rows, tmp_path / "out", *more))
    assert asked == [address]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--format", "mp3"], "flac, wav, ogg, parquet"),
        (["--voice", "nobody"], "nobody"),
    ],
)
def test_wrong_options(rows: Path, tmp_path: Path, more: list[str], said: str) -> None:
    result = run_cli(*arguments(rows, tmp_path / "out", *more))
    assert result.exit_code == 1 and said in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("none.jsonl", "no corpus"), ("a.txt", ".jsonl"), ("a.csv", "no column id")]
)
def test_a_wrong_corpus_leaves_the_folder_alone(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a.txt").write_text("Hello.")
    (tmp_path / "a.csv").write_text("text\nHello.\n")
    result = run_cli(*arguments(tmp_path / name, tmp_path / "out"))
    assert result.exit_code == 1 and said in result.stderr
    assert not (tmp_path / "out").exists()


def spoken(rows: Path, out: Path, *more: object) -> dict[str, str]:
    """The hashes of an undisturbed run of the command in a process of its own."""
    command = [sys.executable, "-m", "pocket_tts_jax", *arguments(rows, out, *more)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "1 rows were not spoken" in done.stderr, done.stderr
    return hashes(out)


def killed(rows: Path, out: Path, lines: int) -> None:
    """Kill the command as soon as the manifest has so many lines."""
    command = [sys.executable, "-m", "pocket_tts_jax", *arguments(rows, out, "--workers", 2)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    manifest, end = out / NAME, time.monotonic() + PATIENCE
    while not manifest.exists() or manifest.read_bytes().count(b"\n") < lines:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_workers_and_kills_change_no_sample(rows: Path, tmp_path: Path) -> None:
    expected = spoken(rows, tmp_path / "one", "--workers", 1)
    assert len(expected) == 40 and len(set(expected.values())) == 40
    for workers in (2, 4):
        assert spoken(rows, tmp_path / f"{workers}", "--workers", workers) == expected
    for lines in (3, 12, 25):
        killed(rows, tmp_path / "killed", lines)
    assert spoken(rows, tmp_path / "killed", "--workers", 2) == expected
    assert len(list((tmp_path / "killed" / "audio").iterdir())) == 40


@pytest.mark.slow
def test_ray_changes_no_sample(rows: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the package ray (extra [ray])")
    expected = spoken(rows, tmp_path / "one", "--workers", 2, "--format", "parquet")
    found = spoken(rows, tmp_path / "ray", "--workers", 2, "--ray", "--format", "parquet")
    assert found == expected
    parts = [sorted((tmp_path / n / "audio").iterdir()) for n in ("one", "ray")]
    assert [p.read_bytes() for p in parts[0]] == [p.read_bytes() for p in parts[1]]
