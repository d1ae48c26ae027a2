"""What a worker does: it speaks what another process asks for, until that one ends."""

import logging
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

from pocket_tts_jax.errors import GenerationError, TTSError
from pocket_tts_jax.generation.engine import Engine
from pocket_tts_jax.generation.stream import stream
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.workers.messages import (
    AHEAD,
    BROKEN,
    TAKEN,
    Asks,
    Begin,
    Ended,
    Forget,
    Next,
    Order,
    Pipe,
    Ready,
    Said,
    Stop,
    Taken,
)


def main() -> None:
    """Read orders from standard input, and write answers to standard output."""
    # Ctrl-C and SIGTERM are for the process that asks: it may let its streams finish first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    logging.getLogger("pocket_tts_jax").setLevel(logging.ERROR)  # it logs the chunks' reports
    orders, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        make = pickle.load(orders)
        try:
            engine = make()
        except Exception as error:
            return _write(answers, _told(error))
        _write(answers, Ready())
        desk = _Desk(engine, answers)
        while True:
            desk.take(pickle.load(orders))
    except (EOFError, OSError):  # the other process closed the pipe or was killed
        os._exit(0)


class _Desk:
    """Takes orders, and sends what the streams say."""

    def __init__(self, engine: Engine, answers: Pipe) -> None:
        self._engine, self._answers = engine, answers
        self._said: queue.SimpleQueue[tuple[int, Said]] = queue.SimpleQueue()
        self._streams: dict[int, _Stream] = {}
        self._voices: dict[int, VoiceState] = {}
        threading.Thread(target=self._send, name="pocket-tts answers", daemon=True).start()

    def take(self, order: Order) -> None:
        if isinstance(order, Begin):
            self._begin(order)
        elif isinstance(order, Forget):
            del self._voices[order.voice]
        elif (one := self._streams.get(order.stream)) is not None:  # it may have ended meanwhile
            one.take(order)

    def _begin(self, order: Begin) -> None:
        if order.voice is not None:
            self._voices[order.keep] = order.voice
        one = _Stream(order, self._voices[order.keep], self._engine, self._said)
        self._streams[order.stream] = one
        one.start(lambda: self._streams.pop(order.stream))

    def _send(self) -> None:
        """Send what there is, in one message: a decoder call makes up to eight frames."""
        while True:
            answers = [self._said.get()]
            while not self._said.empty():
                answers.append(self._said.get())
            try:
                _write(self._answers, answers)
            except OSError:  # nobody listens any more
                os._exit(0)


class _Stream:
    """One stream and its thread."""

    def __init__(
        self,
        order: Begin,
        voice: VoiceState,
        engine: Engine,
        said: "queue.SimpleQueue[tuple[int, Said]]",
    ) -> None:
        self._order, self._voice, self._engine, self._said = order, voice, engine, said
        self._items: queue.SimpleQueue[Prompt | Pause | None | str] = queue.SimpleQueue()
        self._room = threading.Semaphore(AHEAD)
        self._stop = threading.Event()

    def start(self, at_end: Callable[[], object]) -> None:
        threading.Thread(
            target=self._run, args=(at_end,), name="pocket-tts speech", daemon=True
        ).start()

    def take(self, order: Next | Taken | Stop) -> None:
        if isinstance(order, Next):
            self._items.put(order.item)
        elif isinstance(order, Taken):
            self._room.release(TAKEN)
        else:
            self._stop.set()
            self._items.put(None)  # for the threads that wait
            self._room.release()

    def _say(self, what: Said) -> None:
        self._said.put((self._order.stream, what))

    def _run(self, at_end: Callable[[], object]) -> None:
        try:
            self._speak()
            ended = Ended()
        except Exception as error:
            ended = Ended(_told(error))
        at_end()
        self._say(ended)

    def _speak(self) -> None:
        order = self._order
        frames = stream(
            self._engine,
            self._voice,
            self._prompts(),
            order.sampling,
            first_chunk=order.first_chunk,
            stop=self._stop,
            on_chunk=self._say,
            on_word=self._say if order.words else None,
        )
        with closing(frames):
            for frame in frames:
                self._say(frame)
                self._room.acquire()

    def _prompts(self) -> Iterator[Prompt | Pause]:
        while (item := self._items.get()) is not None:
            if isinstance(item, str):
                raise GenerationError(BROKEN)
            yield item
            self._say(Asks())


def _told(error: Exception) -> TTSError:
    """The error as it can be sent."""
    if isinstance(error, TTSError):
        return error
    return GenerationError(f"{type(error).__name__}: {error}")


def _write(pipe: Pipe, message: object) -> None:
    pipe.write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    pipe.flush()
