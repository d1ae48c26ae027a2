"""`TTSModel` on a tiny random model: seeds, streams, batches, threads, voices, shapes."""

import logging
import queue
import threading
from typing import Any

import jax
import numpy as np
import pytest

from pocket_tts_jax import TTSModel, export_model_state
from pocket_tts_jax.errors import (
    CheckpointError,
    ConfigError,
    TextError,
    VoiceCloningUnavailable,
    VoiceError,
)
from pocket_tts_jax.jax_engine.sizes import CAPACITY_STEP
from pocket_tts_jax.jax_engine.states import grow
from pocket_tts_jax.testing.tiny_model import tiny_voice, write_model
from pocket_tts_jax.voice.cache import PromptCache
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.checkpoint import map_safetensors
from tests.patience import PATIENCE

TEXT = "Hello there. This is a second sentence, which is longer. And a third one."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def model(folder):
    # An end that the random weights reach at different frames for different chunks.
    return TTSModel.load_model(model=folder, eos_threshold=-6.5, compilation_cache=False)


@pytest.fixture(scope="module")
def voice(model):
    return model.get_state_for_audio_prompt("tiny")


def speak(model, voice, text=TEXT, **options):
    options = {"seed": 5, "max_tokens": 20} | options
    return model.generate_audio(voice, text, **options)


def test_a_seed_gives_the_same_samples_streamed_or_whole(model, voice):
    whole = speak(model, voice)
    frames = list(model.generate_audio_stream(voice, TEXT, 20, seed=5))
    assert {frame.shape for frame in frames} == {(1920,)}
    np.testing.assert_array_equal(whole, np.concatenate(frames))
    assert whole.dtype == np.float32 and np.abs(whole).max() > 0.01
    assert not np.array_equal(whole, speak(model, voice, seed=6))


def test_another_process_would_load_the_same(model, folder, voice):
    again = TTSModel.load_model(model=folder, eos_threshold=-6.5, compilation_cache=False)
    np.testing.assert_array_equal(speak(model, voice), speak(again, voice))


def test_without_a_seed_each_run_differs(model, voice):
    first, second = (model.generate_audio(voice, "Hello there.") for _ in range(2))
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_generation_leaves_the_voice_alone(model, voice):
    before = voice.k.copy(), voice.v.copy()
    speak(model, voice)
    np.testing.assert_array_equal(before[0], voice.k)
    np.testing.assert_array_equal(before[1], voice.v)


def test_resuming_continues_the_whole(model, voice):
    reports = []
    frames = list(model.generate_audio_stream(voice, TEXT, 20, seed=5, on_chunk=reports.append))
    assert len(reports) == 3
    rest = list(model.generate_audio_stream(voice, TEXT, 20, seed=5, first_chunk=1))
    np.testing.assert_array_equal(np.concatenate(frames[reports[0].frames :]), np.concatenate(rest))
    with pytest.raises(TextError, match="chunk"):
        model.generate_audio_stream(voice, TEXT, 20, first_chunk=99)


def test_batch_rows_equal_single_runs(model, voice):
    voices = [voice, tiny_voice(model.config, length=9, seed=1), voice]
    texts = ["Hello there.", TEXT, "One more text to speak."]
    rows = model.generate_batch(voices, texts, seeds=[1, 2, 3], max_tokens=20)
    for row, text, state, seed in zip(rows, texts, voices, (1, 2, 3), strict=True):
        single = speak(model, state, text, seed=seed)
        assert row.shape == single.shape
        np.testing.assert_allclose(row, single, atol=2e-5)
    with pytest.raises(ConfigError, match="one voice and one seed"):
        model.generate_batch([voice], texts)


def test_threads_equal_their_serial_runs(model, voice):
    serial = [speak(model, voice, seed=s) for s in range(4)]
    results: dict[int, np.ndarray] = {}

    def run(seed):
        results[seed] = speak(model, voice, seed=seed)

    threads = [threading.Thread(target=run, args=(s,)) for s in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, audio in enumerate(serial):
        np.testing.assert_array_equal(audio, results[seed])


@pytest.mark.slow
def test_nothing_compiles_after_the_warmup(model, voice):
    model.warmup()
    texts = [" ".join(["word"] * n) + "." for n in range(1, 31)]
    with jax.log_compiles(), _recorded("jax._src.interpreters.pxla") as compiled:
        for text in texts:
            for _ in model.generate_audio_stream(voice, text, seed=0):
                pass
    assert compiled == []


def test_nothing_compiles_in_mid_speech_behind_the_longest_voice(folder):
    """30 s of a recording, a full chunk, and speech up to its limit."""
    endless = TTSModel.load_model(model=folder, eos_threshold=1e9, compilation_cache=False)
    longest = tiny_voice(endless.config, length=377)
    endless.warmup()
    (prompt,) = endless.prompts(" ".join(["word"] * 16) + ".")
    assert 40 < len(prompt.ids) <= 50  # pyright: ignore
    with jax.log_compiles(), _recorded("jax._src.interpreters.pxla") as compiled:
        latents = endless.engine.start(longest, prompt, 1)  # pyright: ignore
        for _ in range(prompt.max_frames):  # pyright: ignore
            latents.step(np.zeros(endless.engine.config.latent_dim, np.float32))
    assert compiled == []
    assert latents._position > 2 * CAPACITY_STEP  # pyright: ignore


def test_a_process_waits_for_what_compiles_beside_a_stream(folder, voice, monkeypatch):
    """It is started by a daemon, and a daemon inside XLA aborts a process that ends."""
    fresh = TTSModel.load_model(model=folder, eos_threshold=-6.5, compilation_cache=False)
    daemons: queue.Queue[bool] = queue.Queue()
    monkeypatch.setattr(
        fresh.engine, "_warm_decoder", lambda: daemons.put(threading.current_thread().daemon)
    )
    fresh.generate_audio(voice, "Hello there.", seed=1)
    assert daemons.get(timeout=PATIENCE) is False


class _recorded(logging.Handler):
    """Messages of a logger that announce a compilation."""

    def __init__(self, name):
        super().__init__()
        self.logger, self.messages = logging.getLogger(name), []

    def emit(self, record):
        if "Compiling" in record.getMessage():
            self.messages.append(record.getMessage())

    def __enter__(self):
        self.logger.addHandler(self)
        return self.messages

    def __exit__(self, *_):
        self.logger.removeHandler(self)


def test_the_cache_grows_without_changing_what_is_in_it(model, voice):
    from pocket_tts_jax.jax_engine.states import voice_state

    small = voice_state(voice, CAPACITY_STEP)
    kept = np.asarray(small.layers[0].k)
    large = grow(small)
    assert large.layers[0].k.shape[2] == 2 * CAPACITY_STEP
    np.testing.assert_array_equal(np.asarray(large.layers[0].k)[:, :, :CAPACITY_STEP], kept)


def test_speech_that_outgrows_its_cache_goes_on(folder, voice):
    endless = TTSModel.load_model(model=folder, eos_threshold=1e9, compilation_cache=False)
    long_voice = tiny_voice(endless.config, length=CAPACITY_STEP - 40)
    audio = endless.generate_audio(long_voice, "Some words to speak for a while.", seed=1)
    limit = next(iter(endless.prompts("Some words to speak for a while."))).max_frames  # pyright: ignore
    assert audio.size == limit * 1920 and np.isfinite(audio).all()


def test_a_recording_becomes_a_voice_once(model, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    recording = (0.3 * rng.standard_normal(48000)).astype(np.float32)
    cache = PromptCache(tmp_path)
    first = model.get_state_for_audio_prompt((recording, 24000), cache=cache)
    monkeypatch.setattr(model.engine, "encode", None)  # a second encoding would fail
    again = model.get_state_for_audio_prompt((recording, 24000), cache=cache)
    np.testing.assert_array_equal(first.k, again.k)
    path = tmp_path / "voice.safetensors"
    export_model_state(first, path)
    exported = model.get_state_for_audio_prompt(path)
    np.testing.assert_array_equal(speak(model, first), speak(model, exported))


def test_truncate_keeps_thirty_seconds(model, tmp_path):
    noise = (0.3 * np.random.default_rng(0).standard_normal(24000 * 31)).astype(np.float32)
    off = PromptCache(tmp_path, enabled=False)
    whole = model.get_state_for_audio_prompt((noise, 24000), cache=off)
    cut = model.get_state_for_audio_prompt((noise, 24000), truncate=True, cache=off)
    assert whole.length - cut.length == 12 or whole.length - cut.length == 13


def test_what_code_for_the_reference_asks_for(model, voice):
    """A tensor instead of an array, `copy_state`, `.to` and `.eval`."""
    assert model.to("cpu").eval() is model
    with pytest.raises(ConfigError, match="computes on the cpu"):
        model.to("cuda")
    whole = model.generate_audio(voice, TEXT, copy_state=False, seed=1)
    np.testing.assert_array_equal(whole, model.generate_audio(voice, TEXT, seed=1))
    recording = (0.3 * np.random.default_rng(0).standard_normal((1, 24000))).astype(np.float32)

    class Tensor:  # as much of torch's as is used
        def detach(self):
            return self

        def numpy(self):
            return recording

    off = PromptCache(enabled=False)
    expected = model.get_state_for_audio_prompt(recording, cache=off)
    for given in (Tensor(), (Tensor(), 24000)):
        found = model.get_state_for_audio_prompt(given, cache=off)
        np.testing.assert_array_equal(found.k, expected.k)


@pytest.mark.parametrize("name", ["no.wav", "no.safetensors"])
def test_a_missing_voice_is_a_missing_file(model, name):
    with pytest.raises(FileNotFoundError, match=name):
        model.get_state_for_audio_prompt(name)


def test_a_pytorch_file_is_not_called_damaged(model, tmp_path):
    (tmp_path / "a.pt").write_bytes(b"PK")
    with pytest.raises(VoiceError, match="PyTorch file"):
        model.get_state_for_audio_prompt(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="migrating.md"):
        map_safetensors(tmp_path / "a.pt")


def test_unknown_voices_are_refused_with_the_names_there_are(model):
    with pytest.raises(VoiceError, match="no voice called 'nobody'.*tiny"):
        model.get_state_for_audio_prompt("nobody")
    with pytest.raises(VoiceError, match=r'does not fit the weights.*load_model\("english"\)'):
        model.get_state_for_audio_prompt("alba")


def test_a_model_without_encoder_refuses_recordings(tmp_path):
    folder = write_model(tmp_path / "deaf", has_voice_cloning=False, default_voice="tiny")
    deaf = TTSModel.load_model(model=folder, compilation_cache=False)
    assert not deaf.has_voice_cloning and deaf.default_voice() == "tiny"
    with pytest.raises(VoiceCloningUnavailable, match="no encoder"):
        deaf.get_state_for_audio_prompt((np.zeros(24000, np.float32), 24000))


def test_one_step_heads_refuse_more_steps(tmp_path):
    folder = write_model(tmp_path / "pointwise", flow="pointwise")
    with pytest.raises(ConfigError, match="one step"):
        TTSModel.load_model(model=folder, sampler_decode_steps=2, compilation_cache=False)


def test_options_that_cannot_hold_are_refused(model, voice):
    with pytest.raises(ConfigError, match="LiteRT"):
        TTSModel.load_model(quantize=True, engine="jax")
    with pytest.raises(TextError):
        model.generate_audio_stream(voice, "   ")
    with pytest.raises(ConfigError, match="seed"):
        model.generate_audio_stream(voice, TEXT, seed=-1)
    with pytest.raises(ConfigError, match="Choose one of"):
        TTSModel.load_model("english", config="x.yaml")


def test_voices_of_another_model_are_refused_at_once(model, voice):
    keys = np.zeros((3, 2, 4, 8), np.float32)
    stranger = VoiceState(keys, keys, metadata={"model": "other"})
    retrained = VoiceState(voice.k, voice.v, metadata={"model": "older", "fingerprint": "f"})
    for wrong, why in (
        (stranger, "made for other with 3 layers.*tiny has 2"),
        (retrained, "made for older, not for tiny"),
    ):
        with pytest.raises(VoiceError, match=why):
            model.generate_audio_stream(wrong, TEXT)
        with pytest.raises(VoiceError, match=why):
            model.generate_batch([voice, wrong], [TEXT, TEXT])


def test_a_cached_voice_of_other_weights_is_encoded_again(model, tmp_path):
    recording = (0.3 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)
    cache = PromptCache(tmp_path)
    first = model.get_state_for_audio_prompt((recording, 24000), cache=cache)
    (path,) = tmp_path.glob("*.safetensors")
    export_model_state(VoiceState(0 * first.k, first.v, metadata={"fingerprint": "f"}), path)
    again = model.get_state_for_audio_prompt((recording, 24000), cache=cache)
    np.testing.assert_array_equal(again.k, first.k)


def test_temperature_and_steps_change_the_speech(folder, model, voice):
    usual = speak(model, voice)
    options: dict[str, Any]
    for options in ({"temp": 0.9}, {"sampler_decode_steps": 3}, {"noise_clamp": 0.2}):
        other = TTSModel.load_model(
            model=folder, eos_threshold=-6.5, compilation_cache=False, **options
        )
        audio = speak(other, voice)
        assert audio.shape != usual.shape or not np.array_equal(audio, usual), options


def test_the_device_and_rate_are_named(model):
    assert model.device == "cpu" and model.sample_rate == 24000
