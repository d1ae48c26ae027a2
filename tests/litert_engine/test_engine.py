"""The LiteRT engine against the JAX engine, on the tiny model."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.errors import (
    CheckpointError,
    ConfigError,
    GenerationError,
    VoiceCloningUnavailable,
)
from pocket_tts_jax.generation.stream import Sampling, stream
from pocket_tts_jax.jax_engine.engine import JaxEngine
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.folder import MANIFEST, open_folder
from pocket_tts_jax.testing.tiny_model import tiny_voice
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.source import open_source
from tests.exported import MAX_FRAMES, copy_of_export, tiny_export, tiny_model_folder

PROMPT = Prompt("Hello.", (5, 3, 8, 13, 2, 40, 7, 9, 11), 2, 40)


@pytest.fixture(scope="module")
def engine() -> LiteRTEngine:
    return LiteRTEngine(tiny_export(), threads=1)


@pytest.fixture(scope="module")
def reference() -> JaxEngine:
    source = open_source(model=tiny_model_folder())
    return JaxEngine(source.config, source.load_tensors())


def speak(engine: object, voice: VoiceState, seed: int = 1, prompts: int = 1) -> np.ndarray:
    sampling = Sampling(seed=seed, temperature=0.5, eos_threshold=1e9)
    frames = stream(engine, voice, [PROMPT] * prompts, sampling)  # pyright: ignore
    return np.concatenate(list(frames))


def test_same_speech_as_jax(engine: LiteRTEngine, reference: JaxEngine) -> None:
    voice = tiny_voice(engine.config)
    found, expected = speak(engine, voice), speak(reference, voice)
    assert found.shape == expected.shape == (40 * engine.config.mimi.frame_size,)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_cache_is_used_again_unless_it_is_damaged(engine: LiteRTEngine) -> None:
    voice, noise = tiny_voice(engine.config), np.zeros(engine.config.latent_dim, np.float32)
    first, again = speak(engine, voice), speak(engine, voice)
    np.testing.assert_array_equal(first, again)
    used = engine.flow_lm.caches.take(1)
    assert used.position == 0 and np.any(used.arrays["k_0"])
    engine.flow_lm.caches.give(used)
    latents = engine.start(voice, PROMPT, 1)
    eos_logit = latents.step(np.full_like(noise, np.nan)).eos_logit
    assert not np.isfinite(eos_logit) or not np.isfinite(latents.step(noise)[1])
    del latents
    assert not np.any(engine.flow_lm.caches.take(1).arrays["k_0"])


def test_same_voice_from_a_recording_as_jax(engine: LiteRTEngine, reference: JaxEngine) -> None:
    audio = 0.1 * np.random.default_rng(0).standard_normal(30 * engine.config.mimi.frame_size + 7)
    encoded = engine.encode(audio.astype(np.float32))
    expected = reference.encode(audio.astype(np.float32))
    assert encoded.shape == (31, engine.config.mimi.encoded_dim)
    np.testing.assert_allclose(encoded, expected, atol=1e-4 * np.abs(expected).max())
    found, wanted = engine.voice_from_latents(expected), reference.voice_from_latents(expected)
    assert found.shape == wanted.shape and found.length == wanted.length
    for a, b in ((found.k, wanted.k), (found.v, wanted.v)):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_flow_steps_change_the_speech(engine: LiteRTEngine, reference: JaxEngine) -> None:
    voice, noise = tiny_voice(engine.config), np.ones(engine.config.latent_dim, np.float32)
    first = {n: engine.start(voice, PROMPT, n).step(noise)[0] for n in engine.flow_steps}
    assert sorted(first) == [1, 2, 3, 4]
    for n, latent in first.items():
        expected = reference.start(voice, PROMPT, n).step(noise)[0]
        np.testing.assert_allclose(latent, expected, atol=1e-4 * np.abs(expected).max())
    assert not np.allclose(first[1], first[4], atol=1e-3)
    with pytest.raises(ConfigError, match="1, 2, 3, 4"):
        engine.start(voice, PROMPT, 5)


def test_caches_grow_and_their_end_is_an_error(engine: LiteRTEngine) -> None:
    """Crossing from the small cache to the large one changes nothing; its end is said."""
    latents = engine.start(tiny_voice(engine.config, length=250), PROMPT, 1)
    noise = np.zeros(engine.config.latent_dim, np.float32)
    long = [latents.step(noise)[0] for _ in range(MAX_FRAMES - 250 - len(PROMPT.ids))]
    assert np.isfinite(long).all()
    with pytest.raises(GenerationError, match="--max-frames"):
        latents.step(noise)
    with pytest.raises(GenerationError, match="--max-frames"):
        engine.start(tiny_voice(engine.config, length=MAX_FRAMES), PROMPT, 1)


def test_growing_keeps_the_numbers(engine: LiteRTEngine, reference: JaxEngine) -> None:
    voice, noise = (
        tiny_voice(engine.config, length=240),
        np.ones(engine.config.latent_dim, np.float32),
    )
    ours, theirs = engine.start(voice, PROMPT, 1), reference.start(voice, PROMPT, 1)
    for _ in range(12):  # 249 positions at first, 256 in the small cache
        found, expected = ours.step(noise), theirs.step(noise)
        for a, b in ((found.latent, expected.latent), (found.attention, expected.attention)):
            np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())
        heads = len(engine.folder.alignment_heads)
        assert found.attention.shape == (heads, len(PROMPT.ids))
        assert found.attention.min() >= 0 and 0 < found.attention.sum(axis=1).max() <= 1


def test_threads_do_not_disturb_each_other(engine: LiteRTEngine) -> None:
    voice = tiny_voice(engine.config)
    alone = [speak(engine, voice, seed) for seed in range(8)]
    together: dict[int, np.ndarray] = {}

    def work(seed: int) -> None:
        together[seed] = speak(engine, voice, seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, expected in enumerate(alone):
        np.testing.assert_array_equal(together[seed], expected)


def test_two_threads_give_the_numbers_of_one(engine: LiteRTEngine) -> None:
    other, voice = LiteRTEngine(tiny_export(), threads=2), tiny_voice(engine.config)
    np.testing.assert_allclose(speak(other, voice), speak(engine, voice), atol=1e-5)


def test_streams_of_any_cut_are_one_stream(engine: LiteRTEngine) -> None:
    latents = (
        np.random.default_rng(0).standard_normal((13, engine.config.latent_dim)).astype(np.float32)
    )
    whole = engine.decoder().decode(latents)
    for size in (1, 2, 5):
        decoder = engine.decoder()
        pieces = [decoder.decode(latents[i : i + size]) for i in range(0, 13, size)]
        np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)


def test_a_decoder_keeps_nothing_of_the_one_before_it() -> None:
    engine = LiteRTEngine(tiny_export(), threads=1)
    latents = np.ones((3, engine.config.latent_dim), np.float32)
    expected = engine.decoder().decode(latents)
    for count in (1, 2):  # ends in either set of buffers
        decoder = engine.decoder()
        for _ in range(count):
            decoder.decode(np.full_like(latents[:1], np.nan))
        del decoder
        np.testing.assert_array_equal(engine.decoder().decode(latents), expected)


def test_closed_engines_say_so() -> None:
    engine = LiteRTEngine(tiny_export(), threads=1)
    decoder = engine.decoder()
    engine.close()
    with pytest.raises(GenerationError, match="closed"):
        decoder.decode(np.zeros((1, engine.config.latent_dim), np.float32))


def test_without_encoder_there_is_no_cloning(tmp_path: Path) -> None:
    folder = copy_of_export(tmp_path)
    manifest = (folder / MANIFEST).read_text().replace('"mimi_encoder.tflite": {\n   "size"', '"x')
    text = manifest.replace('"x', '"LICENSE": {\n   "size"')
    (folder / MANIFEST).write_text(text)
    (folder / "mimi_encoder.tflite").rename(folder / "LICENSE")
    engine = LiteRTEngine(folder, threads=1)
    assert not engine.can_clone
    with pytest.raises(VoiceCloningUnavailable, match="--with-encoder"):
        engine.encode(np.zeros(1920, np.float32))


@pytest.mark.parametrize("damage", ["missing", "short", "version", "not json", "empty"])
def test_damaged_folders_are_refused(tmp_path: Path, damage: str) -> None:
    folder = copy_of_export(tmp_path)
    model, manifest = folder / "flow_lm.tflite", folder / MANIFEST
    if damage == "missing":
        model.unlink()
    elif damage == "short":
        model.write_bytes(model.read_bytes()[:-100])
    elif damage == "version":
        manifest.write_text(
            manifest.read_text().replace('"format_version": 2', '"format_version": 1')
        )
    elif damage == "not json":
        manifest.write_text("{")
    else:
        manifest.write_text('{"format": "pocket-tts-jax export", "format_version": 2}')
    with pytest.raises(CheckpointError, match=r"Export the\s+model again"):
        open_folder(folder)


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    folder = copy_of_export(tmp_path)
    size = (folder / "flow_lm.tflite").stat().st_size
    (folder / "flow_lm.tflite").write_bytes(b"\0" * size)
    with pytest.raises((CheckpointError, GenerationError)):
        LiteRTEngine(folder, threads=1)


def test_engine_imports_no_framework() -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from pocket_tts_jax.litert_engine.engine import LiteRTEngine\n"
        "engine = LiteRTEngine(Path(sys.argv[1]), threads=1)\n"
        "latents = __import__('numpy').zeros((1, engine.config.latent_dim), 'float32')\n"
        "engine.decoder().decode(latents)\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "heavy = {'jax', 'jaxlib', 'jaxtyping', 'flax', 'tensorflow', 'torch'}\n"
        "print(sorted(loaded & heavy))\n"
    )
    command = [sys.executable, "-c", program, str(tiny_export())]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_package_imports_no_event_loop() -> None:
    """It takes a tenth of the time that a short command computes."""
    program = "import sys; from pocket_tts_jax import TTSModel; print('asyncio' in sys.modules)"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
