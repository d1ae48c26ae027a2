"""The streaming loop: chunks of text in, 80 ms frames of audio out, the same for every engine.

1. A thread processes the chunks in turn: prefill, then latents until EOS, into a bounded queue.
2. The caller's thread takes latents from the queue and decodes 1, 1, 2, 4, then 8 frames per call.
   The schedule depends on the number of frames and not on the state of the queue, so that the same
   seed gives the same bytes. The second step waits for the first decoder call: the first frame then
   has the processor to itself.
3. Closing the generator, or setting `stop`, ends the thread within a frame.

An engine is anything with the methods of `generation.engine.Engine`: JAX and LiteRT here, a stub
in the tests.
"""

import atexit
import itertools
import math
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import numpy as np

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.generation.ending import ChunkReport, EndOfSpeech, fade_in, warn_of_limit
from pocket_tts_jax.generation.engine import Decoder, Engine
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState

# Frames per decoder call; the last number repeats. On a machine a little faster than real time, the
# audio already sent covers the wait for each larger call.
SCHEDULE = (1, 1, 2, 4, 8)
_QUEUE_FRAMES = 64
_NOISE_FRAMES = 16  # drawn at once: one call for many frames is cheaper


Frame = Float[np.ndarray, " samples"]
OnChunk = Callable[[ChunkReport], None]


def stream(
    engine: Engine,
    voice: VoiceState,
    prompts: Iterable[Prompt | Pause],
    sampling: Sampling,
    *,
    first_chunk: int = 0,
    stop: threading.Event | None = None,
    on_chunk: OnChunk | None = None,
) -> Generator[Frame, None, None]:
    """Yield the frames of all prompts, `frame_size` samples each (a pause may end in a shorter).

    `first_chunk` is the index of the first prompt; its noise depends on it, so a text resumed at a
    chunk gives the same bytes as the whole text. `on_chunk` is called in the caller's thread after
    the last frame of a chunk. Errors of the model's thread are raised here.
    """
    producer = _Producer(engine, voice, prompts, sampling, first_chunk, stop)
    try:
        # A new decoder for each chunk; the first is made before its latents are ready.
        decoders = itertools.chain([engine.decoder()], iter(engine.decoder, None))
        while True:
            item = producer.take()
            for frame in _frames_of(item, decoders, engine, producer):
                if producer.stopped:
                    return
                yield frame
            if isinstance(item, Pause):
                continue
            report = producer.report
            if report is None:  # the text has ended, or `stop` was set
                return
            warn_of_limit(report)
            if on_chunk is not None:
                on_chunk(report)
    finally:
        producer.close()


def _frames_of(
    item: "np.ndarray | Pause | None",
    decoders: Iterator[Decoder],
    engine: Engine,
    producer: "_Producer",
) -> Iterator[Frame]:
    if isinstance(item, Pause):
        mimi = engine.config.mimi
        return _silent_frames(item.samples(mimi.sample_rate), mimi.frame_size)
    if item is None:
        return iter(())
    return _decode_chunk(next(decoders), engine.config.mimi.sample_rate, producer, item)


def _decode_chunk(
    decoder: Decoder, sample_rate: int, producer: "_Producer", latent: np.ndarray
) -> Iterator[Frame]:
    """Decode latents from the queue until the chunk's report comes."""
    pending, calls = [latent], 0
    open_chunk = True
    while pending or open_chunk:
        wanted = SCHEDULE[min(calls, len(SCHEDULE) - 1)]
        while open_chunk and len(pending) < wanted:
            item = producer.take()
            if isinstance(item, np.ndarray):
                pending.append(item)
            else:
                open_chunk = False
        if not pending or producer.stopped:
            return
        # At the end of a chunk, take the largest compiled size that the remaining frames fill.
        size = max(n for n in SCHEDULE if n <= min(wanted, len(pending)))
        audio = decoder.decode(np.stack(pending[:size]))
        producer.go_on()
        del pending[:size]
        if calls == 0:
            audio = fade_in(audio, sample_rate)
        calls += 1
        yield from audio.reshape(size, -1)


def _silent_frames(samples: int, frame_size: int) -> Iterator[Frame]:
    for start in range(0, samples, frame_size):
        yield np.zeros(min(frame_size, samples - start), np.float32)


class _Producer:
    """The thread that makes latents. The queue holds a chunk's latents, its report, …, None."""

    def __init__(
        self,
        engine: Engine,
        voice: VoiceState,
        prompts: Iterable[Prompt | Pause],
        sampling: Sampling,
        first_chunk: int,
        stop: threading.Event | None,
    ):
        self.report: ChunkReport | None = None
        self._ended = False
        self._engine, self._voice, self._sampling = engine, voice, sampling
        self._prompts, self._first_chunk = prompts, first_chunk
        self._asked = stop or threading.Event()
        self._closed, self._first_decoded = threading.Event(), threading.Event()
        self._queue: queue.Queue[Any] = queue.Queue(_QUEUE_FRAMES)
        self._thread = threading.Thread(target=self._run, name="pocket-tts latents", daemon=True)
        self._thread.start()
        # For streams that are never closed: a thread inside XLA aborts a process that ends.
        atexit.register(self.close)

    @property
    def stopped(self) -> bool:
        return self._asked.is_set() or self._closed.is_set()

    def go_on(self) -> None:
        """Let the thread go on after the first latent has been decoded."""
        self._first_decoded.set()

    def close(self) -> None:
        """Stop the thread and wait for its end."""
        if not self._ended:  # a second call may come while the interpreter shuts down
            self._closed.set()
            self._thread.join()
            atexit.unregister(self.close)
            self._ended = True

    def take(self) -> "np.ndarray | Pause | None":
        """The next latent or pause. None at the end of a chunk (`report` is set then) or of the
        text."""
        while not self.stopped:
            try:
                item = self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
            if isinstance(item, np.ndarray | Pause):
                self.report = None
                return item
            if isinstance(item, BaseException):
                raise item
            self.report = item
            return None
        self.report = None
        return None

    def _put(self, item: object) -> None:
        while not self.stopped:
            try:
                return self._queue.put(item, timeout=0.05)
            except queue.Full:
                continue

    def _run(self) -> None:
        try:
            index = self._first_chunk
            for item in self._prompts:
                if isinstance(item, Pause):
                    self._put(item)
                    continue
                try:
                    report = self._speak(index, item)
                except GenerationError as error:
                    raise GenerationError(f"Chunk {index} ({item.text!r}): {error}") from error
                if report is None:
                    return
                self._put(report)
                index += 1
            self._put(None)
        except BaseException as error:  # handed to the caller's thread, which raises it
            self._put(error)

    def _speak(self, index: int, prompt: Prompt) -> ChunkReport | None:
        """All latents of one chunk into the queue; None if stopped."""
        sampling, width = self._sampling, self._engine.config.latent_dim
        key = chunk_key(sampling.seed, index)
        latents = self._engine.start(self._voice, prompt, sampling.flow_steps)
        end = EndOfSpeech.of(sampling, prompt)
        draws = np.empty((0, width), np.float32)
        for frame in range(prompt.max_frames):
            if self.stopped:
                return None
            if frame % _NOISE_FRAMES == 0:
                temperature, clamp = sampling.temperature, sampling.noise_clamp
                draws = noise(key, frame, _NOISE_FRAMES, width, temperature, clamp)
            latent, eos_logit, _ = latents.step(draws[frame % _NOISE_FRAMES])
            if not math.isfinite(eos_logit):
                raise GenerationError(
                    f"The model gave a value that is not finite in frame {frame}. Its weights or "
                    "its voice are damaged."
                )
            if end.reached(frame, eos_logit):
                return ChunkReport(index, prompt.text, len(prompt.ids), frame, True)
            self._put(latent)
            while not (self._first_decoded.wait(0.05) or self.stopped):
                pass
        eos = end.eos_frame is not None
        return ChunkReport(index, prompt.text, len(prompt.ids), prompt.max_frames, eos)
