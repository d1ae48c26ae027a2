"""`generate` with a real model of a few thousand random weights: what each option does to sound."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.tts_model import TTSModel
from tests.cli_stub import run_cli

FRAME = 1920
TEXT = "one two three. four five six."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("cli") / "model")


@pytest.fixture
def say(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `generate` on one model, compiled once, with the sampling options of the command."""
    model = _model(folder)

    def load_model(language, config, temp, steps, clamp, eos_threshold, *_, **__):
        model.temp = 0.7 if temp is None else temp
        model.sampler_decode_steps = steps
        model.noise_clamp = clamp
        model.eos_threshold = 0.0 if eos_threshold is None else eos_threshold
        return model

    monkeypatch.setattr(TTSModel, "load_model", load_model)

    def say(*options: object, text: str = TEXT) -> np.ndarray:
        result = run_cli("generate", text, "-o", "-", "--format", "raw", "--seed", 1, *options)
        assert result.exit_code == 0, result.stderr
        return np.frombuffer(result.stdout_bytes, "<i2")[: -FRAME * 5 // 2]

    return say


_MODELS: dict[Path, TTSModel] = {}


def _model(folder: Path) -> TTSModel:
    if folder not in _MODELS:
        _MODELS[folder] = TTSModel.load_model(model=folder, compilation_cache=False)
    return _MODELS[folder]


def test_seed(say) -> None:
    assert np.array_equal(say(), say())
    assert not np.array_equal(say(), say("--seed", 2))


@pytest.mark.parametrize(
    "options",
    [
        ["--temperature", 0.1],
        ["--sampler-decode-steps", 2],
        ["--noise-clamp", 0.2],
        ["--frames-after-eos", 12],
        ["--eos-threshold", -100],
        ["--max-tokens", 4],
        ["--speed", 1.5],
    ],
)
def test_options_change_the_sound(say, options: list) -> None:
    plain = say("--eos-threshold", -50) if "--frames-after-eos" in options else say()
    extra = ["--eos-threshold", -50] if "--frames-after-eos" in options else []
    assert not np.array_equal(plain, say(*options, *extra))


def test_short_chunks_are_glued(say) -> None:
    text, limit = "one two three four. five six seven. yes.", ("--max-tokens", 9)
    assert not np.array_equal(say(*limit, text=text), say(*limit, "--glue-short-chunks", text=text))


def test_long_chunks_are_cut_at_words(say) -> None:
    text, limit = "one two three four five six seven", ("--max-tokens", 6)
    assert not np.array_equal(say(*limit, text=text), say(*limit, "--cut-at-words", text=text))


def test_frames_after_eos_is_exact(say) -> None:
    ends = ["--eos-threshold", -50, "--max-tokens", 50]
    few, many = (say("--frames-after-eos", n, *ends) for n in (1, 4))
    assert (many.size - few.size) % (3 * FRAME) == 0 and many.size > few.size
    assert np.array_equal(few[:FRAME], many[:FRAME])


def test_first_chunk_goes_on_with_the_same_bytes(say) -> None:
    whole = say("--max-tokens", 4)
    rest = say("--max-tokens", 4, "--first-chunk", 1)
    assert 0 < rest.size < whole.size
    assert np.array_equal(whole[-rest.size :], rest)


def test_pauses_are_silence(say) -> None:
    marked = "one two three. [pause:0.5] four five six."
    spoken = say("--pauses", text=marked)
    zeros = np.flatnonzero(np.convolve(spoken != 0, np.ones(12000), "valid") < 0.5)
    assert zeros.size >= 1
    assert not np.array_equal(spoken, say(text=marked))


def test_normalize_and_lexicon_change_the_words(say, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('{"two": "six six six"}')
    assert not np.array_equal(say(), say("--lexicon", tmp_path / "words.json"))
    numbers = "one 2 three."
    assert not np.array_equal(say(text=numbers), say("--normalize", text=numbers))


def _command(folder: Path, cache: Path, *arguments: object) -> subprocess.Popen[bytes]:
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # its own folder, as users have it
    command = [sys.executable, "-m", "pocket_tts_jax", "generate", "--model", folder, *arguments]
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )


@pytest.mark.slow
def test_a_seed_gives_the_same_bytes_in_another_process(folder: Path, tmp_path: Path) -> None:
    options = [TEXT, "-o", "-", "--seed", 4, "--threads", 1]
    digests = set()
    for _ in range(2):
        output, errors = _command(folder, tmp_path, *options).communicate()
        assert output[:4] == b"RIFF" and output.count(b"RIFF") == 1, errors
        digests.add(hashlib.sha256(output).hexdigest())
    assert len(digests) == 1
    assert any((tmp_path / "pocket-tts-jax" / "compiled").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signals_end_it_cleanly(folder: Path, tmp_path: Path) -> None:
    # A job in the background may have been told to ignore SIGINT, and its children with it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _check_signals(folder, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


def _check_signals(folder: Path, tmp_path: Path) -> None:
    long = " ".join([TEXT] * 2000)
    with _command(folder, tmp_path, long, "-o", "-") as reader:
        assert reader.stdout is not None and reader.stderr is not None
        reader.stdout.read(44 + 2 * FRAME)
        reader.stdout.close()  # as `head` does
        assert b"Traceback" not in reader.stderr.read()
    assert reader.returncode == 0

    with _command(folder, tmp_path, long, "-o", "-") as interrupted:
        assert interrupted.stdout is not None
        interrupted.stdout.read(44 + 2 * FRAME)
        interrupted.send_signal(signal.SIGINT)
        _, errors = interrupted.communicate()
    assert interrupted.returncode == 130 and b"Traceback" not in errors
