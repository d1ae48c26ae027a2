"""What `benchmarks.decoders` says of samples that differ."""

import numpy as np

from benchmarks.decoders import above_split, compare, decode, speak
from exporters.gate.difference import Difference
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.weights.source import EMBEDDED

RATE = 24_000
TIME = np.arange(RATE) / RATE
NOISE = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)


def tone(hz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * TIME).astype(np.float32)


def test_the_distance_is_of_what_lies_above_8_khz() -> None:
    low, high = tone(1000), tone(10_000)
    assert above_split(NOISE + low, NOISE + 0.9 * low, RATE)[0] < 0.1
    distance, level = above_split(NOISE + high, NOISE + 0.1 * high, RATE)
    assert distance > 1 and level < -1
    half, level = above_split(NOISE, NOISE / 2, RATE)
    np.testing.assert_allclose((half, level), (20 * np.log10(2), -20 * np.log10(2)), rtol=1e-3)


def test_the_ratio_is_that_of_the_samples() -> None:
    said = compare([NOISE, NOISE], [NOISE * 1.1, NOISE * 1.01], RATE)
    assert said.startswith("SNR 30.0 dB (least 20.0)")


def test_the_embedded_voice_is_spoken_as_the_model_speaks_it() -> None:
    model = TTSModel.load_model(engine="litert", threads=1, compilation_cache=False)
    latents = speak(model, "Hello there.")
    audio = decode(LiteRTEngine(EMBEDDED, threads=1), latents, 1)
    voice = model.get_state_for_audio_prompt(model.default_voice())
    spoken = model.generate_audio(voice, "Hello there.", seed=0)
    assert spoken.shape == audio.shape
    # Behind the fade; layers in 8 bits depend on how many frames a call has.
    assert Difference.of(audio[200:], spoken[200:]).snr_db > 30
