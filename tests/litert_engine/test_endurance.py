"""Hundreds of requests in one process: no growth, no drift, and cancelled ones leave no trace."""

from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.generation.stream import Sampling, stream
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.testing.tiny_model import tiny_voice
from pocket_tts_jax.text.prepare import Prompt
from tests.exported import tiny_export

SAMPLING = Sampling(seed=1, temperature=0.5, eos_threshold=1e9)
PROMPT = Prompt("Hello.", (5, 3, 8, 13, 2, 40, 7, 9, 11), 2, 12)


def resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


@pytest.mark.slow
def test_five_hundred_requests_take_no_more_memory() -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is read from /proc")
    engine = LiteRTEngine(tiny_export(), threads=2)
    voice, sizes, heard = tiny_voice(engine.config), [], set()
    for i in range(500):
        tokens = tuple(range(3, 8 + i % 20))
        prompt = PROMPT if i % 10 == 0 else Prompt("Hi.", tokens, 2, 8 + i % 7)
        audio = np.concatenate(list(stream(engine, voice, [prompt], SAMPLING)))
        if i % 10 == 0:
            heard.add(audio.tobytes())
        sizes.append(resident_kb())
    slope = np.polyfit(range(400), sizes[100:], 1)[0]
    assert slope < 50
    assert len(heard) == 1


@pytest.mark.slow
def test_after_each_of_two_hundred_cancelled_requests_the_next_is_right() -> None:
    engine = LiteRTEngine(tiny_export(), threads=2)
    voice = tiny_voice(engine.config)
    whole = np.concatenate(list(stream(engine, voice, [PROMPT], SAMPLING)))
    for i in range(200):
        frames = stream(engine, voice, [PROMPT] * 3, SAMPLING)
        for _ in range(1 + i % 5):
            next(frames)
        frames.close()  # pyright: ignore
        again = np.concatenate(list(stream(engine, voice, [PROMPT], SAMPLING)))
        np.testing.assert_array_equal(again, whole)
