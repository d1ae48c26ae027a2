"""The file of packed weights: built once by another process, built again when damaged."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.litert_engine import packed_weights as packing
from pocket_tts_jax.litert_engine import trial
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.packed_weights import IN_MEMORY, packed_weights
from tests.exported import tiny_export

SHA = "a" * 64


class Trials:
    """Stands for the process that opens a model: notes where weights were packed, writes there."""

    def __init__(self, answer: bool | None = True) -> None:
        self.answer, self.places = answer, []

    def __call__(self, model: Path, weight_cache: str) -> bool | None:
        self.places.append(weight_cache)
        if weight_cache != IN_MEMORY:
            Path(weight_cache).write_bytes(b"packed")
        return self.answer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(100))
    return path


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trials:
    trials = Trials()
    monkeypatch.setattr(trial, "survives", trials)
    monkeypatch.setattr(packing, "_in_memory_works", set())
    monkeypatch.setattr(packing, "cache_folder", lambda name: tmp_path / name)
    return trials


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "packed"


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir() if path.suffix != ".lock")


def test_packed_once(model: Path, trials: Trials, folder: Path) -> None:
    first = packed_weights(model, SHA, folder)
    assert Path(first).read_bytes() == b"packed" and Path(first).parent == folder
    assert packed_weights(model, SHA, folder) == first
    assert len(trials.places) == 1 and names(folder) == [".xnnpack"]


@pytest.mark.parametrize("damage", [b"pack", b"wrong!", b"packed and more", b""])
def test_damaged_files_are_built_again(
    model: Path, trials: Trials, folder: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(packed_weights(model, SHA, folder))
    state = path.stat()
    path.write_bytes(damage)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # damage keeps a file's time
    assert packed_weights(model, SHA, folder) == str(path)
    assert path.read_bytes() == b"packed" and len(trials.places) == 2
    assert "is damaged" in caplog.text


def test_a_process_that_dies_of_packing_costs_the_file_only(
    model: Path, trials: Trials, folder: Path
) -> None:
    def dies_writing(_: Path, place: str) -> bool:
        trials(model, place)
        return place == IN_MEMORY

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "survives", dies_writing)
        assert packed_weights(model, SHA, folder) == IN_MEMORY
    assert names(folder) == []
    assert Path(packed_weights(model, SHA, folder)).is_file()


def test_a_model_that_ends_processes_is_an_error(model: Path, trials: Trials, folder: Path) -> None:
    trials.answer = False
    for place in (folder, None):
        with pytest.raises(GenerationError, match="ends the process that tries.*ulimit"):
            packed_weights(model, SHA, place)
    assert names(folder) == []


def test_a_model_is_tried_once(model: Path, trials: Trials, monkeypatch) -> None:
    assert packed_weights(model, SHA, None) == packed_weights(model, SHA, None) == IN_MEMORY
    monkeypatch.setattr(packing, "_in_memory_works", set())  # another process
    assert packed_weights(model, SHA, None) == IN_MEMORY
    assert trials.places == [IN_MEMORY]
    packed_weights(model, "b" * 64, None)
    assert len(trials.places) == 2


def test_without_an_answer_the_model_is_opened_here(
    model: Path, trials: Trials, folder: Path
) -> None:
    trials.answer = None
    assert packed_weights(model, SHA, folder) == IN_MEMORY


@pytest.mark.parametrize("name", ["file/packed", "a\nline"])
def test_a_folder_that_cannot_be_used(model: Path, trials: Trials, tmp_path, name: str) -> None:
    (tmp_path / "file").write_text("in the way")
    assert packed_weights(model, SHA, tmp_path / name) == IN_MEMORY


def test_while_another_process_builds_memory_is_used(
    model: Path, trials: Trials, folder: Path
) -> None:
    path = Path(packed_weights(model, SHA, folder))
    key = path.stem.partition("-")[0]
    path.unlink()
    with FileLock(folder / f"{key}.lock"):
        assert packed_weights(model, SHA, folder) == IN_MEMORY
    assert packed_weights(model, SHA, folder) == str(path)


def test_concurrent_threads_build_one_file(model: Path, trials: Trials, folder: Path) -> None:
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.append(packed_weights(model, SHA, folder)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and names(folder) == [".xnnpack"]


def test_without_room_for_it_nothing_is_built(
    model: Path, trials: Trials, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=199))
        assert packed_weights(model, SHA, folder) == IN_MEMORY
    assert Path(packed_weights(model, SHA, folder)).is_file()


def test_what_killed_processes_left_is_removed(model: Path, trials: Trials, folder: Path) -> None:
    path = Path(packed_weights(model, SHA, folder))
    path.unlink()
    left = folder / f"{path.stem.partition('-')[0]}.abc.part"
    others = folder / "someone.else.part"
    for file in (left, others):
        file.touch()
    assert packed_weights(model, SHA, folder) == str(path)
    assert others.exists() and not left.exists()


def test_files_that_nobody_loads_any_more_are_removed(
    model: Path, trials: Trials, folder: Path
) -> None:
    unused, used = (Path(packed_weights(model, sha * 64, folder)) for sha in "bc")
    for path in (unused, used):
        os.utime(path, (0, 0))
    packed_weights(model, "c" * 64, folder)
    packed_weights(model, "d" * 64, folder)  # builds another
    assert used.is_file() and not unused.exists()


SPEAK = """
import sys, numpy as np
from pathlib import Path
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
engine = LiteRTEngine(Path(sys.argv[1]), threads=1, cache_folder=Path(sys.argv[2]))
ones = np.ones((2, engine.config.latent_dim), "f4")
print(repr(float(np.abs(engine.decoder().decode(ones)).sum())))
"""


def test_two_processes_at_once_are_both_right(folder: Path) -> None:
    command = [sys.executable, "-c", SPEAK, str(tiny_export()), str(folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    engine = LiteRTEngine(tiny_export(), threads=1)
    ones = np.ones((2, engine.config.latent_dim), np.float32)
    expected = float(np.abs(engine.decoder().decode(ones)).sum())
    assert [float(text) for text in outputs] == pytest.approx([expected] * 2, rel=1e-5)
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("name", ["plain", 'a "quoted" \\ path', "ü #"])
def test_a_cached_engine_speaks_like_an_uncached_one(tmp_path: Path, name: str) -> None:
    ones = np.ones((3, 32), np.float32)
    plain = LiteRTEngine(tiny_export(), threads=1).decoder().decode(ones)
    for _ in range(2):
        cached = LiteRTEngine(tiny_export(), threads=1, cache_folder=tmp_path / name)
        np.testing.assert_array_equal(cached.decoder().decode(ones), plain)
    assert len(list((tmp_path / name).glob("*.xnnpack"))) == 2  # FlowLM and Mimi


def test_a_trial_tells_death_from_errors(tmp_path: Path, monkeypatch) -> None:
    good = tiny_export() / "mimi_decoder.tflite"
    assert trial.survives(good, IN_MEMORY) is True
    assert trial.survives(tmp_path / "none.tflite", IN_MEMORY) is None
    program = f"import os, signal; os.kill(os.getpid(), signal.{signal.SIGABRT.name})"
    dying = tmp_path / "python"
    dying.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{program}'\n")
    dying.chmod(0o755)
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: str(dying))
    assert trial.survives(good, IN_MEMORY) is False
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: str(tmp_path / "none"))
    assert trial.survives(good, IN_MEMORY) is None
