"""Voices of made-up numbers, and what makes two the same."""

import numpy as np

from pocket_tts_jax.voice.state import VoicePrompt, VoiceState

LAYERS, HEADS, WIDTH, LENGTH = 2, 3, 4, 5


def voice(seed: int = 0, length: int = LENGTH, **changes) -> VoiceState:
    random = np.random.default_rng(seed)
    k, v = random.standard_normal((2, LAYERS, HEADS, length, WIDTH)).astype(np.float32)
    return VoiceState(k, v, **changes)


def assert_same(a: VoiceState | VoicePrompt, b: VoiceState) -> None:
    assert isinstance(a, VoiceState)
    assert np.array_equal(a.k, b.k) and np.array_equal(a.v, b.v)
    assert a.k.dtype == a.v.dtype == np.float32
