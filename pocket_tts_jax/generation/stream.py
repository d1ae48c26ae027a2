"""The streaming loop: chunks of text in, 80 ms frames of audio out, the same for every engine.

1. A thread processes the chunks in turn: prefill, then latents until EOS. It puts 1, 1, 2, 4, then
   8 frames at a time into a bounded queue.
2. The caller's thread is woken once for these frames, and decodes them in one call. The schedule
   depends on the number of frames and not on the state of the queue, so that the same seed gives
   the same bytes. The second step waits for the first decoder call: the first frame then has the
   processor to itself.
3. Closing the generator, or setting `stop`, ends the thread within a frame.

An engine is anything with the methods of `generation.engine.Engine`: JAX and LiteRT here, a stub
in the tests.
"""

import atexit
import math
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain, repeat
from typing import Any

import numpy as np

from pocket_tts_jax.alignment.timer import WordTimer
from pocket_tts_jax.audio.timbre import Timbre, TimbreShift
from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.generation.ending import ChunkReport, EndOfSpeech, fade_in, warn_of_limit
from pocket_tts_jax.generation.engine import Decoder, Engine, Job, OnChunk, OnWord, Step
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.generation.process import hold_daemon_thread
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState

# Frames per decoder call; the last number repeats. On a machine a little faster than real time, the
# audio already sent covers the wait for each larger call.
SCHEDULE = (1, 1, 2, 4, 8)
_QUEUE_ITEMS = 8  # at most 64 frames
_LONGEST_STEP = 0.5  # seconds
_NOISE_FRAMES = 32  # drawn at once: one call for many frames is cheaper
Frame = Float[np.ndarray, " samples"]


def stream(
    engine: Engine,
    voice: VoiceState,
    prompts: Iterable[Prompt | Pause],
    sampling: Sampling,
    *,
    first_chunk: int = 0,
    stop: threading.Event | None = None,
    on_chunk: OnChunk | None = None,
    on_word: OnWord | None = None,
) -> Generator[Frame, None, None]:
    """Yield the frames of all prompts, `frame_size` samples each (a pause may end in a shorter, and
    a chunk of a voice with a pace of its own).

    `first_chunk` is the index of the first prompt, which its noise depends on: a text resumed at
    a chunk continues with the bytes of the whole. `on_chunk` is called in the caller's thread
    when a chunk's last frame has been yielded, and `on_word` with each of the prompts' words, at
    most 0.5 s of audio after its end. Errors of the model's thread are raised here.

    Where the engine has workers, the stream is spoken where the fewest are.
    """
    place = nullcontext() if engine.workers is None else engine.workers.place()
    with place as worker:
        speak = partial(_speak_here, engine) if worker is None else worker.stream
        yield from speak(
            voice,
            prompts,
            sampling,
            first_chunk=first_chunk,
            stop=stop,
            on_chunk=on_chunk,
            on_word=on_word,
        )


def _speak_here(
    engine: Engine,
    voice: VoiceState,
    prompts: Iterable[Prompt | Pause],
    sampling: Sampling,
    *,
    first_chunk: int,
    stop: threading.Event | None,
    on_chunk: OnChunk | None,
    on_word: OnWord | None,
) -> Generator[Frame, None, None]:
    """`stream` in this process."""
    producer = _Producer(engine, voice, prompts, sampling, first_chunk, stop)
    mimi = engine.config.mimi
    timbre = voice.timbre
    pace = 1.0 if timbre is None else timbre.pace
    timer = None if on_word is None else WordTimer(mimi.sample_rate, on_word, pace)
    try:
        # A new decoder for each chunk; the first is made before its latents are ready.
        first: list[Decoder] = [engine.decoder()]
        while (item := producer.take()) is not None:
            if isinstance(item, Pause):
                frames = _silent_frames(item.samples(mimi.sample_rate), mimi.frame_size, timer)
            else:  # a chunk begins with its job
                assert isinstance(item, Job)
                frames = decoder = None  # the next decoder can have the memory of the last one
                decoder = first.pop() if first else engine.decoder()  # kept until the close below
                frames = _decode_chunk(item, decoder, mimi.sample_rate, producer, timer)
                if timbre is not None:
                    frames = _in_timbre(timbre, frames, mimi.frame_size)
            for frame in frames:
                if producer.stopped:
                    return
                yield frame
            if isinstance(item, Pause) or producer.report is None:
                continue
            warn_of_limit(producer.report)
            if timer is not None:
                timer.end()
            if on_chunk is not None:
                on_chunk(producer.report)
    finally:
        producer.close()


def _decode_chunk(
    job: Job, decoder: Decoder, sample_rate: int, producer: "_Producer", timer: WordTimer | None
) -> Iterator[Frame]:
    """Decode a chunk's steps from the queue until its report comes."""
    if timer is not None:
        timer.begin(job.chunk, job.prompt.words, len(job.prompt.ids))
    first = True
    while (steps := producer.take()) is not None:
        audio = decoder.decode(np.stack([step.latent for step in steps]))
        producer.go_on()
        if first:
            audio, first = fade_in(audio, sample_rate), False
        for step, frame in zip(steps, audio.reshape(len(steps), -1), strict=True):
            if timer is not None:
                timer.hear(frame, step.attention)
            yield frame


def _in_timbre(timbre: Timbre, frames: Iterator[Frame], frame_size: int) -> Iterator[Frame]:
    """The frames of a chunk in another timbre; the last may be shorter."""
    shift, ready = TimbreShift(timbre), np.empty(0, np.float32)
    for frame in frames:
        ready = np.concatenate([ready, shift.push(frame)])
        while len(ready) >= frame_size:
            yield ready[:frame_size]
            ready = ready[frame_size:]
    ready = np.concatenate([ready, shift.finish()])
    for start in range(0, len(ready), frame_size):
        yield ready[start : start + frame_size]


def _silent_frames(samples: int, frame_size: int, timer: WordTimer | None) -> Iterator[Frame]:
    if timer is not None:
        timer.pause(samples)
    for start in range(0, samples, frame_size):
        yield np.zeros(min(frame_size, samples - start), np.float32)


class _Producer:
    """The thread that makes latents. The queue holds a chunk as a job, lists of its steps, its
    report, …, None."""

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
        self._ended = self._process_ends = False
        self._engine, self._voice, self._sampling = engine, voice, sampling
        self._prompts, self._first_chunk = prompts, first_chunk
        self._asked = stop or threading.Event()
        self._closed, self._first_decoded = threading.Event(), threading.Event()
        self._queue: queue.Queue[Any] = queue.Queue(_QUEUE_ITEMS)
        self._thread = threading.Thread(target=self._run, name="pocket-tts latents", daemon=True)
        self._thread.start()
        # For streams that are never closed: a thread inside XLA aborts a process that ends.
        atexit.register(self._end)

    @property
    def stopped(self) -> bool:
        return self._asked.is_set() or self._closed.is_set()

    def go_on(self) -> None:
        """Let the thread go on after the first latent has been decoded."""
        self._first_decoded.set()

    def close(self) -> None:
        """Stop, and wait for the thread to end its step. XLA cannot be stopped while it compiles;
        then the thread ends by itself, or the process waits for it before it ends.

        Does not return in a daemon thread while the process ends: JAX frees arrays behind it.
        """
        if not self._ended:  # a second time may be when the process takes its modules apart
            self._closed.set()
            self._thread.join(_LONGEST_STEP)
            if not self._thread.is_alive():
                atexit.unregister(self._end)
                self._ended = True
        if self._process_ends:
            hold_daemon_thread()

    def _end(self) -> None:
        self._process_ends = True
        self._closed.set()
        self._thread.join()
        self._ended = True

    def take(self) -> Any:
        """What comes next; None at the end of a chunk (its `report` is set then), at the end of
        everything and when stopped (it is not)."""
        self.report = None
        while not self.stopped:
            try:
                item = self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            if not isinstance(item, ChunkReport):
                return item
            self.report = item
            return None
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
                job = Job(index, item, self._voice, self._sampling)
                self._put(job)
                try:
                    report = self._speak(job)
                except GenerationError as error:
                    raise GenerationError(f"Chunk {index} ({item.text!r}): {error}") from error
                if report is None:
                    return
                self._put(report)
                index += 1
            self._put(None)
        except BaseException as error:  # handed to the caller's thread, which raises it
            self._put(error)

    def _speak(self, job: Job) -> ChunkReport | None:
        """All steps of one chunk into the queue; None if stopped."""
        index, prompt, sampling = job.chunk, job.prompt, job.sampling
        width = self._engine.config.latent_dim
        key = chunk_key(sampling.seed, index)
        latents = self._engine.start(self._voice, prompt, sampling.flow_steps)
        end = EndOfSpeech.of(sampling, prompt)
        draws = np.empty((0, width), np.float32)
        steps: list[Step] = []  # of the next decoder call
        sizes = chain(SCHEDULE, repeat(SCHEDULE[-1]))
        wanted = next(sizes)
        for frame in range(prompt.max_frames):
            if self.stopped:
                return None
            if frame % _NOISE_FRAMES == 0:
                temperature, clamp = sampling.temperature, sampling.noise_clamp
                draws = noise(key, frame, _NOISE_FRAMES, width, temperature, clamp)
            step = latents.step(draws[frame % _NOISE_FRAMES])
            if not math.isfinite(step.eos_logit):
                raise GenerationError(
                    f"The model gave a value that is not finite in frame {frame}. Its weights or "
                    "its voice are damaged."
                )
            if end.reached(frame, step.eos_logit):
                report = ChunkReport(index, prompt.text, len(prompt.ids), frame, True)
                break
            steps.append(step)
            if len(steps) == wanted:
                self._put_steps(steps)
                steps, wanted = [], next(sizes)
            while not (self._first_decoded.is_set() or self.stopped):
                self._first_decoded.wait(0.05)
        else:
            eos = end.eos_frame is not None
            report = ChunkReport(index, prompt.text, len(prompt.ids), prompt.max_frames, eos)
        self._put_steps(steps)
        return report

    def _put_steps(self, steps: Sequence[Step]) -> None:
        """Put steps into the queue, those of each decoder call together: the largest compiled sizes
        that they fill."""
        begin = 0
        while begin < len(steps):
            size = max(n for n in SCHEDULE if n <= len(steps) - begin)
            self._put(steps[begin : begin + size])
            begin += size
