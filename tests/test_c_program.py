"""The program in examples/c: compiled, run on an export, and compared with this package."""

import json
import os
import re
import shutil
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.audio.write import to_int16
from pocket_tts_jax.litert_engine.c_api import library_path
from pocket_tts_jax.tts_model import TTSModel
from tests.exported import copy_of_export, tiny_export
from tests.folders import ROOT

pytestmark = pytest.mark.slow
COMPILER = shutil.which(os.environ.get("CC", "cc"))


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the compiled program."""
    if COMPILER is None:
        pytest.skip("no C compiler: install gcc or clang")
    place = tmp_path_factory.mktemp("c") / "pocket_tts"
    library = library_path().parent
    flags = ["-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
    link = [f"-L{library}", f"-Wl,-rpath,{library}", "-lLiteRt", "-lm"]
    source = ["-I", "swift/Sources/CLiteRT", "examples/c/pocket_tts.c"]
    subprocess.run([COMPILER, *flags, *source, *link, "-o", str(place)], cwd=ROOT, check=True)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([place, *arguments], capture_output=True, text=True, check=False)

    return run


def test_it_replays_what_was_recorded(run: Run) -> None:
    done = run("replay", tiny_export())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "audio" in done.stdout and "TOO FAR" not in done.stdout


def test_it_speaks_like_this_package(run: Run, tmp_path: Path) -> None:
    done = run("speak", tiny_export(), tmp_path / "said.wav", "7")
    assert done.returncode == 0, done.stderr
    text = done.stdout.split('"')[1]
    with wave.open(str(tmp_path / "said.wav")) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    model = TTSModel.load_model(model=tiny_export(), engine="litert")
    voice = model.get_state_for_audio_prompt(model.voice_names()[0])
    expected = to_int16(model.generate_audio(voice, text, seed=7))
    assert said.size == expected.size
    assert np.abs(said.astype(int) - expected).max() <= 1


def test_a_damaged_folder_is_an_error(run: Run, tmp_path: Path) -> None:
    folder = copy_of_export(tmp_path)
    for name in ("vectors.safetensors", "vectors.json", "manifest.json"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
        done = run("replay", folder)
        assert done.returncode == 1 and done.stderr, name
        (folder / name).write_bytes(data)


def test_check_hashes_every_file(run: Run, tmp_path: Path) -> None:
    folder = copy_of_export(tmp_path)
    assert run("check", folder).returncode == 0
    names = json.loads((folder / "manifest.json").read_text())["files"]
    assert "flow_lm.tflite" in names
    for name in names:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        done = run("check", folder)
        assert done.returncode == 1 and f"{name} is damaged" in done.stderr
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)


def test_the_guide_shows_pieces_of_it() -> None:
    program = (ROOT / "examples" / "c" / "pocket_tts.c").read_text(encoding="utf-8")
    guide = (ROOT / "docs" / "app-developers.md").read_text(encoding="utf-8")
    pieces = re.findall(r"```c\n(.*?)```", guide, re.DOTALL)
    assert len(pieces) >= 5
    for piece in pieces:
        assert piece in program, piece
