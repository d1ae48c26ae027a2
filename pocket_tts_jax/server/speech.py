"""Speaks one text for a client: from the request to pieces of audio and events."""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.audio.stretch import TimeStretch
from pocket_tts_jax.generation.ending import ChunkReport
from pocket_tts_jax.generation.engine import Audio
from pocket_tts_jax.generation.stream import stream
from pocket_tts_jax.server.models import ServedModel
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.voice.state import VoiceState


@dataclass(frozen=True)
class SpeechRequest:
    """A text, or the pieces of one, with all its options.

    `first_chunk` is the number of chunks that were spoken before with the same seed.
    """

    text: str | Iterator[str]
    voice: VoiceState
    speed: float = 1.0
    seed: int | None = None
    options: TextOptions = TextOptions()
    first_chunk: int = 0


@dataclass(frozen=True)
class ChunkSpoken:
    """The audio of a chunk is complete. Times are seconds from the first sample of the speech."""

    index: int
    text: str
    start: float
    end: float
    complete: bool
    """False if the chunk reached its limit, so that words may be missing."""


def speak(
    served: ServedModel,
    request: SpeechRequest,
    stop: threading.Event,
    on_chunk: Callable[[ChunkSpoken], None] = lambda chunk: None,
    on_word: Callable[[SpokenWord], None] | None = None,
) -> Iterator[Audio]:
    """Speak: pieces of float32 samples, ±1 full scale. Blocks while it computes, and ends within
    two frames when `stop` is set. `on_chunk` is called after the last piece of each chunk, and
    `on_word` for each word of the text, at most 0.5 s of audio after it.

    Raises TextError for a text with nothing to speak, and VoiceError for a voice of another model.
    """
    model = served.model
    model.check_voice(request.voice)
    stretch = TimeStretch(request.speed, model.sample_rate)
    second, made = model.sample_rate * request.speed, 0

    def report(chunk: ChunkReport) -> None:
        end = made / second
        start = end - request.voice.spoken_samples(chunk.frames * model.frame_size) / second
        on_chunk(ChunkSpoken(chunk.index, chunk.text, start, end, chunk.eos))

    def report_word(word: SpokenWord) -> None:
        if on_word is not None:
            on_word(word.at_speed(request.speed))

    words = on_word is not None
    frames = stream(
        served.scheduler.open(),
        request.voice,
        model.prompts(request.text, options=request.options, words=words),
        model.sampling(secrets.randbits(63) if request.seed is None else request.seed),
        first_chunk=request.first_chunk,
        stop=stop,
        on_chunk=report,
        on_word=report_word if words else None,
    )
    with closing(frames):
        for frame in frames:
            made += frame.shape[0]
            if (samples := stretch.push(frame)).shape[0]:
                yield samples
    if (samples := stretch.finish()).shape[0] and not stop.is_set():
        yield samples
