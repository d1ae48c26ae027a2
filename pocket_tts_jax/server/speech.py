"""One text spoken for a client: from the request to pieces of audio and news about them."""

import secrets
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from pocket_tts_jax.audio.stretch import TimeStretch
from pocket_tts_jax.generation.ending import ChunkReport
from pocket_tts_jax.generation.engine import Audio
from pocket_tts_jax.generation.stream import stream
from pocket_tts_jax.server.models import ServedModel
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.voice.state import VoiceState


@dataclass(frozen=True)
class SpeechRequest:
    """A text, or the pieces of one, with everything that decides how it sounds.

    `first_chunk` is the number of chunks that were spoken before with the same seed.
    """

    text: str | Iterator[str]
    voice: VoiceState
    speed: float = 1.0
    seed: int | None = None
    options: TextOptions = TextOptions()
    first_chunk: int = 0


@dataclass(frozen=True)
class Piece:
    """Samples, float32, ±1 full scale."""

    samples: Audio


@dataclass(frozen=True)
class ChunkSpoken:
    """The audio of a chunk is complete. Times are seconds from the first sample of the speech."""

    index: int
    text: str
    start: float
    end: float
    complete: bool
    """False where the chunk ran into its limit: words may be missing."""


News = Piece | ChunkSpoken


def speak(served: ServedModel, request: SpeechRequest, stop: threading.Event) -> Iterator[News]:
    """Speak. Blocks while it computes, and ends within two frames when `stop` is set.

    Raises TextError where there is nothing to speak, VoiceError for a voice of another model.
    """
    model, rate = served.model, served.model.sample_rate
    model.check_voice(request.voice)
    stretch = TimeStretch(request.speed, rate)
    reports: deque[ChunkReport] = deque()
    frames = stream(
        served.scheduler.open(),
        request.voice,
        model.prompts(request.text, options=request.options),
        model.sampling(secrets.randbits(63) if request.seed is None else request.seed),
        first_chunk=request.first_chunk,
        stop=stop,
        on_chunk=reports.append,
    )
    made, second = 0, rate * request.speed
    with closing(frames):
        for frame in frames:
            yield from _spoken(reports, made / second, model.frame_size / second)
            made += frame.shape[0]
            if (samples := stretch.push(frame)).shape[0]:
                yield Piece(samples)
    if (samples := stretch.finish()).shape[0] and not stop.is_set():
        yield Piece(samples)
    yield from _spoken(reports, made / second, model.frame_size / second)


def _spoken(reports: deque[ChunkReport], end: float, frame: float) -> Iterator[ChunkSpoken]:
    while reports:
        report = reports.popleft()
        start = end - report.frames * frame
        yield ChunkSpoken(report.index, report.text, start, end, report.eos)
