"""Tones in pauses are found, and only there."""

import numpy as np

from training.data.spectra import SAMPLE_RATE
from training.judging.pauses import tone_level

DRAW = np.random.default_rng(0)
TIME = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE


def clip(tone: float) -> np.ndarray:
    """A second of speech-like noise, and a second of silence with a tone of 2400 Hz."""
    audio = DRAW.standard_normal(len(TIME)) * np.where(TIME < 1, 0.1, 1e-4)
    return audio + tone * np.sin(2 * np.pi * 2400 * TIME)


def test_a_tone_in_silence_stands_out():
    assert (tone_level([clip(0) for _ in range(4)]) or 99) < 8
    assert (tone_level([clip(3e-5) for _ in range(4)]) or 0) > 12


def test_a_tone_in_speech_does_not_count():
    loud = 0.2 * np.sin(2 * np.pi * 2400 * TIME)
    assert tone_level([loud]) is None
    assert tone_level([np.zeros(SAMPLE_RATE)]) is None
