"""One worker, seen from the process that began it."""

import os
import pickle
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.generation.ending import ChunkReport, warn_of_limit
from pocket_tts_jax.generation.engine import Audio, OnChunk, OnWord
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.workers.messages import (
    BROKEN,
    TAKEN,
    Asks,
    Begin,
    Ended,
    Forget,
    MakeEngine,
    Next,
    Order,
    Pipe,
    Ready,
    Said,
    Stop,
    Taken,
)

_VOICES_KEPT = 8  # in both processes; of published models, each has 6 MB
_LONGEST_PIECE = 0.5  # seconds that the end of a stream waits for a piece of its text
_PROGRAM = "from pocket_tts_jax.workers.process import main; main()"


class Worker:
    """A process that speaks streams with an engine of its own.

    It ends with `close`, when the object is freed, and with the process that began it. Raises
    GenerationError if the system cannot begin a process.
    """

    def __init__(self, make: MakeEngine) -> None:
        self.streams = 0  # open now; counted by the crew
        self._numbers = count()
        self._sending = threading.RLock()  # streams that are collected as garbage end anywhere
        self._voices: dict[int, tuple[int, VoiceState]] = {}  # by id, with their numbers
        process = _begin_process()
        assert process.stdin is not None and process.stdout is not None
        self._orders: Pipe = process.stdin
        self._hearing = _Hearing(process)
        self.close = weakref.finalize(self, _end, process)
        threading.Thread(target=self._hearing.run, name="pocket-tts worker", daemon=True).start()
        self._send(make)

    @property
    def loaded(self) -> bool:
        """Whether it has loaded its engine, and so can speak until it ends."""
        return self._hearing.loaded

    @property
    def ended(self) -> Exception | None:
        """Why it ended: the error of its engine, or a GenerationError. None while it runs."""
        return self._hearing.ended

    def wait(self) -> None:
        """Wait until it is loaded. Raises its error if it ends before."""
        self._hearing.begun.wait()
        if self.ended is not None:
            raise self.ended

    def stream(
        self,
        voice: VoiceState,
        prompts: Iterable[Prompt | Pause],
        sampling: Sampling,
        *,
        first_chunk: int = 0,
        stop: threading.Event | None = None,
        on_chunk: OnChunk | None = None,
        on_word: OnWord | None = None,
    ) -> Generator[Audio, None, None]:
        """`generation.stream.stream` in the worker."""
        number = next(self._numbers)
        stream = _Stream(stop or threading.Event())
        self._hearing.streams[number] = stream
        if self.ended is not None:  # it may have ended before it knew of the stream
            self._hearing.tell_end()
        feed = partial(self._feed, number, stream, prompts)
        feeding = threading.Thread(target=feed, name="pocket-tts text", daemon=True)
        self._begin(number, voice, sampling, first_chunk, on_word is not None)
        feeding.start()
        try:
            for said in stream:
                if isinstance(said, ChunkReport):
                    warn_of_limit(said)
                    if on_chunk is not None:
                        on_chunk(said)
                elif isinstance(said, SpokenWord):
                    assert on_word is not None
                    on_word(said)
                else:
                    if stream.taken(said):
                        self._send(Taken(number))
                    yield said
        finally:
            del self._hearing.streams[number]
            if stream.close():
                self._send(Stop(number))
            feeding.join(_LONGEST_PIECE)

    def _begin(
        self, number: int, voice: VoiceState, sampling: Sampling, first_chunk: int, words: bool
    ) -> None:
        """Send the beginning of a stream, and its voice once."""
        with self._sending:  # a voice must be there before another stream refers to it
            known = self._voices.pop(id(voice), None)
            keep = number if known is None else known[0]
            while len(self._voices) >= _VOICES_KEPT:
                oldest = self._voices.pop(next(iter(self._voices)))
                self._write(Forget(oldest[0]))
            self._voices[id(voice)] = keep, voice
            sent = voice if known is None else None
            self._write(Begin(number, sent, keep, sampling, first_chunk, words))

    def _feed(self, number: int, stream: "_Stream", prompts: Iterable[Prompt | Pause]) -> None:
        """Send each prompt when the worker asks for it."""
        try:
            for item in prompts:
                self._send(Next(number, item))
                stream.asked.acquire()
                if stream.closed:
                    return
            self._send(Next(number, None))
        except BaseException as error:  # raised by the stream, after what was said before it
            stream.broken = error
            self._send(Next(number, BROKEN))

    def _send(self, order: Order | MakeEngine) -> None:
        with self._sending:
            self._write(order)

    def _write(self, order: Order | MakeEngine) -> None:
        try:
            self._orders.write(pickle.dumps(order, pickle.HIGHEST_PROTOCOL))
            self._orders.flush()
        except (OSError, ValueError):  # it ended: `_Hearing` tells the streams
            pass


@dataclass
class _Stream:
    """What a worker says of one stream: frames, reports, words. Iterating ends with the stream, and
    raises its error."""

    stop: threading.Event
    said: "queue.SimpleQueue[Said]" = field(default_factory=queue.SimpleQueue)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    broken: BaseException | None = None
    closed: bool = False
    _ended: bool = False
    _frames: int = 0

    def hear(self, said: Said) -> None:
        if isinstance(said, Asks):
            self.asked.release()
        else:
            self.said.put(said)

    def __iter__(self) -> Generator[Audio | ChunkReport | SpokenWord, None, None]:
        while not self.stop.is_set():
            try:
                said = self.said.get(timeout=0.05)
            except queue.Empty:
                continue
            if isinstance(said, Ended):
                self._ended = True
                if said.error is not None:
                    raise self.broken or said.error
                return
            assert not isinstance(said, Asks)
            yield said

    def taken(self, frame: Audio) -> bool:
        """Count a frame; whether to tell the worker."""
        self._frames += 1
        return self._frames % TAKEN == 0

    def close(self) -> bool:
        """End the thread that feeds it; whether the worker must be told to stop."""
        self.closed = True
        self.asked.release()
        return not self._ended


class _Hearing:
    """Reads what a worker says, for its streams. It does not refer to the `Worker`, which may be
    freed meanwhile."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process, self._answers = process, process.stdout
        self.streams: dict[int, _Stream] = {}
        self.begun = threading.Event()  # it is loaded, or has ended
        self.loaded = False
        self.ended: Exception | None = None

    def run(self) -> None:
        try:
            first = pickle.load(self._answers)
            if isinstance(first, Exception):
                self.ended = first
            else:
                assert isinstance(first, Ready)
                self.loaded = True
                self.begun.set()
                self._hear()
        except Exception:  # it is no longer there, or something else wrote into the pipe
            self.ended = _death(self._process)
        self.begun.set()
        self.tell_end()

    def _hear(self) -> None:
        while True:
            for number, said in pickle.load(self._answers):
                stream = self.streams.get(number)
                if stream is not None:  # else its listener has left
                    stream.hear(said)

    def tell_end(self) -> None:
        assert self.ended is not None
        error = GenerationError(str(self.ended))
        for stream in list(self.streams.values()):
            stream.hear(Ended(error))


def _begin_process() -> subprocess.Popen[bytes]:
    # glibc gives each thread a heap, which keeps what its largest stream needed.
    environment = {"MALLOC_ARENA_MAX": "2"} | os.environ
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", _PROGRAM]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for this process, also while that one imports
        )
    except OSError as error:
        raise GenerationError(f"The system cannot begin a worker process: {error}") from error


def _death(process: subprocess.Popen[bytes]) -> GenerationError:
    process.kill()
    return GenerationError(
        f"A worker process ended with code {process.wait()}. Ask again; if memory is short, use "
        "fewer workers."
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        try:
            pipe.close()
        except OSError:  # what was written was not read
            pass
