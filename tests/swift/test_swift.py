"""The Swift package: built, and its own tests run with what the Python package makes of the same
inputs. Swift is found on the path or in /opt/swift."""

import json
import os
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from exporters.build import Options
from exporters.tflite import export
from pocket_tts_jax.audio.write import to_int16
from pocket_tts_jax.captions.files import words_json
from pocket_tts_jax.litert_engine.c_api import library_path
from pocket_tts_jax.tts_model import TTSModel
from tests.folders import ROOT
from tests.swift import fixtures
from tests.swift.families import LAYERS, write_family

pytestmark = pytest.mark.slow
SWIFT = shutil.which(
    "swift", path=os.environ["PATH"] + ":/opt/swift/usr/bin:/usr/share/swift/usr/bin"
)
TEXT = "The train to Boston leaves at 7:15. Would you like some coffee?"


def swift(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `swift` in the repository; fails with the end of what it printed."""
    assert SWIFT is not None
    done = subprocess.run(
        [SWIFT, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done


@pytest.fixture(scope="module")
def flags() -> list[str]:
    """How the package is built and linked with the C library of the installed wheel."""
    if SWIFT is None:
        pytest.skip("no Swift: install it from https://www.swift.org/install")
    folder = str(library_path().parent)
    link = ["-Xlinker", f"-L{folder}", "-Xlinker", "-rpath", "-Xlinker", folder]
    return ["-c", "release", "-Xswiftc", "-enable-testing", *link]


@pytest.fixture(scope="module")
def built(flags: list[str]) -> Path:
    """The folder of the built package."""
    swift("build", "--build-tests", *flags)
    return Path(swift("build", "--show-bin-path", *flags).stdout.strip())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded voice, with less of everything than the shipped one, to be made quickly."""
    folder = tmp_path_factory.mktemp("export") / "embedded"
    options = Options(precision="int8", max_frames=320, prefill_lengths=(16, 64), batches=())
    assert export(None, folder, options) == []
    return folder


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An export of each published family, with random weights."""
    folder = tmp_path_factory.mktemp("families")
    made = []
    for name in LAYERS:
        options = Options(
            precision="fp32",
            max_frames=320,
            with_encoder=name == "english_7m_2026-10",
            prefill_lengths=(8, 16),
            decoder_frames=(1, 2),
            batches=(),
        )
        model = write_family(folder / f"{name}-model", name)
        assert export(str(model), folder / name, options) == []
        made.append(folder / name)
    return made


def test_the_packages_own_tests(
    built: Path, flags: list[str], exported: Path, families: list[Path], tmp_path: Path
) -> None:
    fixtures.main(tmp_path, [exported, *families])
    places = {"POCKET_TTS_FIXTURES": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = swift("test", "--skip-build", *flags, **places)
    assert "0 failures" in done.stdout + done.stderr


def test_the_command(built: Path, exported: Path, tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> str:
        command = [built / "pocket-tts", *arguments, "--model", exported]
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return done.stdout

    assert run("voices") == "joe (default)\nmia\notto\nuna\n"
    assert "as they were" in run("check")
    times = tmp_path / "said.json"
    run("speak", TEXT, "--seed", "3", "-o", tmp_path / "said.wav", "--words", times)
    with wave.open(str(tmp_path / "said.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        said = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    model = TTSModel.load_model(model=exported, engine="litert")
    voice = model.get_state_for_audio_prompt("joe")
    audio, words = model.generate_audio_with_times(voice, TEXT, seed=3)
    expected = to_int16(audio)
    assert said.size == expected.size
    assert np.abs(said.astype(int) - expected).max() <= 1
    assert json.loads(times.read_text("utf-8")) == json.loads(words_json(words))


def test_wrong_use_says_what_to_do(built: Path, tmp_path: Path) -> None:
    def fails(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [built / "pocket-tts", *arguments], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    assert fails("speak", "Hello")[0] == 2
    assert fails("sing") == (2, fails("sing")[1])
    status, message = fails("voices", "--model", str(tmp_path))
    assert status == 1
    assert "manifest.json" in message and "Fatal" not in message
