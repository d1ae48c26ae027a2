"""The file of packed weights: built once, built again when damaged, never in the way."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.litert_engine import packed_weights as weight_cache
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from tests.exported import tiny_export

SIZE = 100  # bytes of the model file


class Loads:
    """Stands for LiteRT: notes where weights were packed, writes the file that XNNPACK would."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, path: str) -> str:
        self.paths.append(path)
        if path != weight_cache.IN_MEMORY and not Path(path).exists():
            Path(path).write_bytes(b"packed")
        return path

    def run(self, folder: Path | None) -> str:
        return weight_cache.load_with_cache(self, lambda _: None, "a" * 64, SIZE, folder)


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def test_packed_once(tmp_path: Path) -> None:
    loads = Loads()
    first, second = loads.run(tmp_path), loads.run(tmp_path)
    assert first == second and Path(first).parent == tmp_path
    assert len(loads.paths) == 3  # built aside, loaded, loaded again
    assert files(tmp_path) == [".json", ".lock", ".xnnpack"]


@pytest.mark.parametrize("damage", ["cut", "changed", "no stamp"])
def test_damaged_files_are_built_again(tmp_path: Path, damage: str) -> None:
    loads = Loads()
    path = Path(loads.run(tmp_path))
    if damage == "cut":
        path.write_bytes(b"pack")
    elif damage == "changed":
        path.write_bytes(b"wrong!")
        os.utime(path, ns=(1, 1))
    else:
        path.with_suffix(".json").unlink()
    assert loads.run(tmp_path) == str(path)
    assert path.with_suffix(".json").is_file()


def test_a_file_that_does_not_load_is_built_again(tmp_path: Path) -> None:
    loads = Loads()
    path = loads.run(tmp_path)
    refused = []

    def load(place: str) -> str:
        if place == path and not refused:
            refused.append(place)
            raise GenerationError("refused")
        return loads(place)

    assert weight_cache.load_with_cache(load, lambda _: None, "a" * 64, SIZE, tmp_path) == path
    assert refused == [path]


def test_without_a_folder_or_with_a_busy_one_memory_is_used(tmp_path: Path) -> None:
    loads = Loads()
    assert loads.run(None) == weight_cache.IN_MEMORY
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert loads.run(blocked / "cache") == weight_cache.IN_MEMORY
    seen = []

    def load(place: str) -> str:  # while this process builds, another one asks
        if not seen:
            seen.append(place)
            seen.append(Loads().run(tmp_path / "cache"))
        return loads(place)

    weight_cache.load_with_cache(load, lambda _: None, "a" * 64, SIZE, tmp_path / "cache")
    assert seen[1] == weight_cache.IN_MEMORY


def test_other_models_have_other_files(tmp_path: Path) -> None:
    loads = Loads()
    first = loads.run(tmp_path)
    other = weight_cache.load_with_cache(loads, lambda _: None, "b" * 64, SIZE, tmp_path)
    assert first != other


def test_two_processes_at_once_are_both_right(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from pocket_tts_jax.litert_engine.engine import LiteRTEngine\n"
        "e = LiteRTEngine(Path(sys.argv[1]), threads=1, cache_folder=Path(sys.argv[2]))\n"
        "print(repr(float(np.abs(e.decoder().decode(np.ones((2, e.latent_dim), 'f4'))).sum())))\n"
    )
    command = [sys.executable, "-c", program, str(tiny_export()), str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    engine = LiteRTEngine(tiny_export(), threads=1)
    expected = np.abs(
        engine.decoder().decode(np.ones((2, engine.config.latent_dim), np.float32))
    ).sum()
    assert [float(text) for text in outputs] == pytest.approx([float(expected)] * 2, rel=1e-5)
    assert not list(tmp_path.glob("*.part"))


def test_a_cached_engine_speaks_like_an_uncached_one(tmp_path: Path) -> None:
    ones = np.ones((3, 32), np.float32)
    plain = LiteRTEngine(tiny_export(), threads=1).decoder().decode(ones)
    for _ in range(2):
        cached = LiteRTEngine(tiny_export(), threads=1, cache_folder=tmp_path)
        np.testing.assert_array_equal(cached.decoder().decode(ones), plain)
    assert len(list(tmp_path.glob("*.xnnpack"))) == 2  # FlowLM and Mimi


def test_concurrent_threads_build_one_file(tmp_path: Path) -> None:
    loads, results = Loads(), []
    threads = [
        threading.Thread(target=lambda: results.append(loads.run(tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert files(tmp_path) == [".json", ".lock", ".xnnpack"]


def test_without_room_for_it_nothing_is_built(tmp_path, monkeypatch, caplog) -> None:
    """XNNPACK ends the process where it cannot write on."""
    loads = Loads()
    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * SIZE - 1))
        assert loads.run(tmp_path) == weight_cache.IN_MEMORY
    assert loads.paths == [weight_cache.IN_MEMORY] and "No weight cache" in caplog.text
    assert Path(loads.run(tmp_path)).is_file()


def test_what_a_killed_process_left_is_removed(tmp_path) -> None:
    loads = Loads()
    path = Path(loads.run(tmp_path))
    path.unlink()
    left = [tmp_path / f"{path.stem}.abc.part", tmp_path / f"{path.stem}.abc.stamp-part"]
    others = tmp_path / "someone.else.part"
    for file in (*left, others):
        file.touch()
    assert loads.run(tmp_path) == str(path)
    assert others.exists() and not any(file.exists() for file in left)


def test_files_that_nobody_loads_any_more_are_removed(tmp_path) -> None:
    loads = Loads()
    unused, used = (
        Path(weight_cache.load_with_cache(loads, lambda _: None, sha, SIZE, tmp_path))
        for sha in ("b" * 64, "c" * 64)
    )
    for path in (unused, used):
        os.utime(path.with_suffix(".json"), (0, 0))
    weight_cache.load_with_cache(loads, lambda _: None, "c" * 64, SIZE, tmp_path)
    loads.run(tmp_path)  # builds another
    assert used.is_file() and not unused.exists() and not unused.with_suffix(".json").exists()


def test_a_folder_that_takes_no_new_files_is_done_without(tmp_path, monkeypatch) -> None:
    def refused(**_: object) -> None:
        raise PermissionError("read only")

    monkeypatch.setattr(weight_cache.tempfile, "mkstemp", refused)
    assert Loads().run(tmp_path) == weight_cache.IN_MEMORY


def test_a_user_without_a_home_has_no_folder(monkeypatch) -> None:
    def homeless(*_: object) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("platformdirs.user_cache_dir", homeless)
    assert weight_cache.default_folder() is None
