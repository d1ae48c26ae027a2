"""The interface that phone apps know: each member, each option, each error."""

import io
import shutil
import subprocess
import threading
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporters.manifest import refresh_files
from pocket_tts_jax.config import load_config
from pocket_tts_jax.litert_engine import export_cache
from pocket_tts_jax.pocket_engine import engine as pocket_engine
from pocket_tts_jax.pocket_engine.engine import PocketTTSEngine
from pocket_tts_jax.pocket_engine.types import (
    AudioChunk,
    InferenceFailed,
    InvalidConfig,
    InvalidVoice,
    IoError,
    ModelLoadFailed,
    ModelNotLoaded,
    PocketTTSError,
    SynthesisResult,
    TokenizationFailed,
    TTSConfig,
)
from pocket_tts_jax.testing.tiny_model import tiny_voice
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.voice.state import write_voice
from tests.exported import copy_of_export, tiny_export, tiny_model_folder
from tests.patience import PATIENCE

TEXT = "a dog ran"
FIXED = TTSConfig(use_fixed_seed=True, temperature=0.5)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny export with a second voice."""
    path = copy_of_export(tmp_path_factory.mktemp("pocket"))
    voice = tiny_voice(load_config(path / "config.yaml"), seed=7)
    named = replace(voice, metadata={"gender": "female", "description": "clear"})
    write_voice(path / "voices" / "zoe.safetensors", named)
    refresh_files(path)
    return path


@pytest.fixture
def engine(folder: Path) -> PocketTTSEngine:
    engine = PocketTTSEngine(folder, threads=1)
    engine.configure(FIXED)
    return engine


class Handler:
    """Notes what it is told; `after` runs at the first chunk."""

    def __init__(self, after: object = None) -> None:
        self.chunks: list[AudioChunk] = []
        self.progress: list[float] = []
        self.messages: list[str] = []
        self.complete = 0
        self._after = after

    def on_audio_chunk(self, chunk: AudioChunk) -> None:
        self.chunks.append(chunk)
        if callable(self._after) and len(self.chunks) == 1:
            self._after()

    def on_progress(self, progress: float) -> None:
        self.progress.append(progress)

    def on_complete(self) -> None:
        self.complete += 1

    def on_error(self, message: str) -> None:
        self.messages.append(message)


def samples(result: SynthesisResult) -> np.ndarray:
    with wave.open(io.BytesIO(result.audio_data)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (result.channels, 2)
        assert file.getframerate() == result.sample_rate == 24000
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_defaults_and_presets_are_the_interfaces() -> None:
    assert TTSConfig() == TTSConfig(0, 0.7, 0.9, 1.0, 2, False, 42)
    assert TTSConfig.low_latency().consistency_steps == 1
    assert TTSConfig.high_quality().consistency_steps == 4
    assert pocket_engine.version()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("voice_index", value) for value in (8, -1, 0.5)),
        ("temperature", -0.1),
        ("temperature", 1.1),
        ("temperature", float("nan")),
        ("top_p", 0.05),
        ("top_p", 1.5),
        ("speed", 0.4),
        ("speed", 2.1),
        ("consistency_steps", 0),
        ("consistency_steps", 5),
        ("consistency_steps", True),
        ("seed", -1),
        ("use_fixed_seed", 1),
        ("temperature", "hot"),
    ],
)
def test_settings_out_of_range_are_refused(
    engine: PocketTTSEngine, name: str, value: object
) -> None:
    with pytest.raises(InvalidConfig, match=name):
        engine.configure(replace(FIXED, **{name: value}))
    assert engine.get_config() == FIXED


def test_describes_itself(engine: PocketTTSEngine, folder: Path) -> None:
    assert engine.is_ready()
    assert "fp32" in engine.model_version()
    assert engine.parameter_count() > 1000
    voices = pocket_engine.available_voices(folder)
    assert [(v.index, v.name, v.gender) for v in voices] == [
        (0, "tiny", "unknown"),
        (1, "zoe", "female"),
    ]
    assert voices[1].description == "clear"


def test_synthesis_is_a_wav_file_and_repeats(engine: PocketTTSEngine) -> None:
    first, second = engine.synthesize(TEXT), engine.synthesize(TEXT)
    heard = samples(first)
    assert first.audio_data == second.audio_data
    assert first.duration_seconds == heard.size / 24000
    assert heard.size % 1920 == 0 and heard.size > 0
    assert np.abs(heard).max() > 100


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.1},
        {"top_p": 0.3},
        {"speed": 1.5},
        {"consistency_steps": 4},
        {"seed": 43},
        {"voice_index": 1},
        {"use_fixed_seed": False},
    ],
)
def test_every_option_has_an_effect(engine: PocketTTSEngine, changed: dict) -> None:
    before = engine.synthesize(TEXT)
    engine.configure(replace(FIXED, **changed))
    assert engine.synthesize(TEXT).audio_data != before.audio_data


def test_speed_changes_the_length(engine: PocketTTSEngine) -> None:
    plain = engine.synthesize(TEXT).duration_seconds
    for speed in (0.5, 2.0):
        engine.configure(replace(FIXED, speed=speed))
        assert engine.synthesize(TEXT).duration_seconds == pytest.approx(plain / speed, rel=0.03)


def test_top_p_limits_the_noise(engine: PocketTTSEngine) -> None:
    speaker = engine._loaded()
    whole = pocket_engine._sampling(speaker, replace(FIXED, top_p=1.0, temperature=1.0))
    half = pocket_engine._sampling(speaker, replace(FIXED, top_p=0.5, temperature=1.0))
    assert whole.noise_clamp is None
    assert half.noise_clamp == pytest.approx(0.6744898)  # the quartile of the normal distribution


def test_voices_by_index(engine: PocketTTSEngine) -> None:
    first, second = (engine.synthesize_with_voice(TEXT, i).audio_data for i in (0, 1))
    assert first == engine.synthesize(TEXT).audio_data != second
    for wrong in (2, -1, 8):
        with pytest.raises(InvalidVoice, match="2 voices"):
            engine.synthesize_with_voice(TEXT, wrong)


def test_stream_is_the_synthesis(engine: PocketTTSEngine) -> None:
    handler = Handler()
    engine.start_true_streaming(TEXT, handler)
    heard = np.concatenate([np.frombuffer(c.audio_data, "<f4") for c in handler.chunks])
    assert [c.is_final for c in handler.chunks] == [False] * (len(handler.chunks) - 1) + [True]
    assert handler.complete == 1 and handler.messages == []
    assert handler.progress == sorted(handler.progress) and handler.progress[-1] == 1.0
    whole = samples(engine.synthesize(TEXT))
    np.testing.assert_allclose(np.clip(heard, -1, 1), whole / 32768, atol=2 / 32768)


def test_errors_of_a_stream_reach_the_handler(engine: PocketTTSEngine) -> None:
    handler = Handler()
    engine.start_true_streaming("  ", handler)
    assert len(handler.messages) == 1 and handler.complete == 0 and handler.chunks == []
    with pytest.raises(TokenizationFailed):
        engine.synthesize("")


def test_cancel_stops_and_the_next_call_is_whole(engine: PocketTTSEngine) -> None:
    whole = engine.synthesize(TEXT).audio_data
    for _ in range(20):
        handler = Handler(after=engine.cancel)
        engine.start_true_streaming(TEXT, handler)
        assert len(handler.chunks) <= 2 and handler.complete == 0
        assert engine.synthesize(TEXT).audio_data == whole


def test_cancel_from_another_thread(engine: PocketTTSEngine) -> None:
    started = threading.Event()
    handler = Handler(after=started.set)
    text = ". ".join([TEXT] * 40)
    thread = threading.Thread(target=engine.start_true_streaming, args=(text, handler))
    thread.start()
    assert started.wait(PATIENCE)
    engine.cancel()
    thread.join(PATIENCE)
    assert not thread.is_alive() and handler.complete == 0
    engine.cancel()  # nothing runs: nothing happens
    assert engine.synthesize(TEXT).duration_seconds > 0


def test_reference_audio_is_the_voice_until_cleared(engine: PocketTTSEngine) -> None:
    plain = engine.synthesize(TEXT).audio_data
    rng = np.random.default_rng(0)
    recording = (0.2 * rng.standard_normal(24000)).astype("<f4")
    engine.set_reference_audio(recording.tobytes(), 16000)
    cloned = engine.synthesize(TEXT).audio_data
    assert cloned != plain
    assert engine.synthesize_with_voice(TEXT, 0).audio_data == plain
    engine.clear_reference_audio()
    assert engine.synthesize(TEXT).audio_data == plain
    with pytest.raises(InvalidVoice, match="float32"):
        engine.set_reference_audio(b"abc", 16000)


def test_decode_latents(engine: PocketTTSEngine) -> None:
    latents = np.random.default_rng(0).standard_normal((3, 32)).astype("<f4")
    heard = np.frombuffer(engine.decode_latents(latents.tobytes(), 3), "<f4")
    assert heard.shape == (3 * 1920,) and np.abs(heard).max() > 0.01
    again = np.frombuffer(engine.decode_latents(latents[:1].tobytes(), 1), "<f4")
    np.testing.assert_allclose(again, heard[:1920], atol=1e-5)
    for data, n in ((b"", 0), (b"\0" * 4, 1), (latents.tobytes(), 2)):
        with pytest.raises(InferenceFailed, match="bytes"):
            engine.decode_latents(data, n)


def test_unload(folder: Path) -> None:
    engine = PocketTTSEngine(folder, threads=1)
    engine.unload()
    engine.unload()
    assert not engine.is_ready()
    calls = [
        lambda: engine.synthesize(TEXT),
        lambda: engine.configure(FIXED),
        lambda: engine.decode_latents(b"\0" * 128, 1),
        lambda: engine.set_reference_audio(b"\0" * 4, 24000),
        engine.model_version,
        engine.parameter_count,
    ]
    for call in calls:
        with pytest.raises(ModelNotLoaded):
            call()


def test_folders_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(IoError, match="no folder"):
        PocketTTSEngine(tmp_path / "none")
    with pytest.raises(ModelLoadFailed, match="neither"):
        PocketTTSEngine(tmp_path)
    assert issubclass(ModelLoadFailed, PocketTTSError)


def test_phone_folders_are_exported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []
    finished = tiny_export()  # while `subprocess.run` is what it is

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess:
        """In place of the exporter's process: copies an export to where it was asked for."""
        made.append(command)
        shutil.copytree(finished, command[command.index("--out") + 1])
        return subprocess.CompletedProcess(command, 0, b"")

    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(2):
        assert PocketTTSEngine(tiny_model_folder(), threads=1).is_ready()
    ((*_, last),) = made
    assert str(tiny_model_folder()) in made[0] and last == "--with-encoder"


def test_phone_folders_need_the_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(export_cache, "_TOOLS", ("no_such_module",))
    with pytest.raises(ModelLoadFailed, match=r"pocket-tts-jax\[export\]"):
        PocketTTSEngine(tiny_model_folder())


def test_text_options_are_followed(folder: Path) -> None:
    plain, paused = (
        PocketTTSEngine(folder, threads=1, text=TextOptions(pauses=pauses))
        for pauses in (False, True)
    )
    results = []
    for engine in (plain, paused):
        engine.configure(FIXED)
        results.append(engine.synthesize("a dog ran [pause:5] a dog ran"))
    assert results[1].duration_seconds > 5 + engine.synthesize(TEXT).duration_seconds
    assert results[0].audio_data != results[1].audio_data
