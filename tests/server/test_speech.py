"""One text for a client: its pieces of audio and the times of its chunks."""

import threading

import pytest

from pocket_tts_jax.server.models import ServedModel
from pocket_tts_jax.server.scheduler import scheduler_for
from pocket_tts_jax.server.speech import ChunkSpoken, SpeechRequest, speak
from tests.server.stub import stub_model


@pytest.mark.parametrize("speed", [1.0, 1.5])
@pytest.mark.parametrize("voice", ["joe", "otto"])  # the second has a pace of its own
def test_chunks_follow_each_other_to_the_last_sample(voice: str, speed: float) -> None:
    model = stub_model()
    served = ServedModel("stub", model, scheduler_for(model.engine))
    text = "The first of the sentences is this one. " * 6
    chunks: list[ChunkSpoken] = []
    request = SpeechRequest(text, served.voice(voice), speed, seed=1)
    samples = sum(map(len, speak(served, request, threading.Event(), chunks.append)))
    assert len(chunks) > 1 and chunks[0].start == pytest.approx(0, abs=1e-4)
    for before, after in zip(chunks, chunks[1:], strict=False):
        assert after.start == pytest.approx(before.end, abs=1e-4)
    assert chunks[-1].end == pytest.approx(samples / model.sample_rate, abs=1e-4)
