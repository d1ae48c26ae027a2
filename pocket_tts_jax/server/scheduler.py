"""Decides which stream computes next when many share an engine.

The routes ask a `Scheduler` for the engine of each stream. An engine that computes many streams in
one call declares it (`batches`) and gets all calls at once; any other serves one stream at a time.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

from pocket_tts_jax.generation.engine import Decoder, Engine, Latents, Step
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState

_ENOUGH = 1.0  # seconds of audio ahead of the listener; streams with less have priority


class Scheduler(Protocol):
    """Shares one engine among streams."""

    def open(self) -> Engine:
        """The engine for one stream, from its first chunk to its last."""
        ...


def scheduler_for(engine: Engine) -> Scheduler:
    """The scheduler that fits an engine."""
    return Together(engine) if getattr(engine, "batches", False) else Turns(engine)


class Together:
    """For an engine that batches the calls of its streams."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self) -> Engine:
        return self._engine


@dataclass
class _Stream:
    """The state of a stream: its start, and the audio made so far."""

    opened: float
    rate: int
    heard_since: float | None = None
    samples: int = 0
    last_turn: float = 0.0

    def made(self, samples: int, now: float) -> None:
        self.heard_since = now if self.heard_since is None else self.heard_since
        self.samples += samples

    def rank(self, now: float) -> tuple[int, float]:
        """The lowest goes first: streams without audio, then those soon out of audio in turns, then
        the others, the least ahead first."""
        if self.heard_since is None:
            return 0, self.opened
        ahead = self.samples / self.rate - (now - self.heard_since)
        return (1, self.last_turn) if ahead < _ENOUGH else (2, ahead)


@dataclass
class _Waiting:
    stream: _Stream
    turn: threading.Event = field(default_factory=threading.Event)


class Turns:
    """One call of the engine at a time.

    A stream without audio goes first, so that a short request does not wait for a book. Then come
    those that are soon out of audio, then the others, the least ahead first.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: list[_Waiting] = []

    def open(self) -> Engine:
        rate = self._engine.config.mimi.sample_rate
        stream = _Stream(self._clock(), rate)
        return cast(Engine, _InTurns(self._engine, stream, self))

    @contextmanager
    def turn(self, stream: _Stream) -> Iterator[None]:
        """Wait for the stream's turn, and keep it during the block."""
        with self._lock:
            mine = None
            if self._busy:
                mine = _Waiting(stream)
                self._waiting.append(mine)
            self._busy = True
        if mine is not None:
            mine.turn.wait()
        try:
            yield
        finally:
            with self._lock:
                now = self._clock()
                stream.last_turn = now
                if self._waiting:
                    following = min(self._waiting, key=lambda one: one.stream.rank(now))
                    self._waiting.remove(following)
                    following.turn.set()
                else:
                    self._busy = False

    def made(self, stream: _Stream, samples: int) -> None:
        with self._lock:
            stream.made(samples, self._clock())


class _InTurns:
    """An engine for one stream: each call waits for the stream's turn."""

    def __init__(self, engine: Engine, stream: _Stream, turns: Turns) -> None:
        self._engine, self._stream, self._turns = engine, stream, turns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def start(self, voice: VoiceState, prompt: Prompt, flow_steps: int) -> Latents:
        with self._turns.turn(self._stream):
            latents = self._engine.start(voice, prompt, flow_steps)
        return _LatentsInTurns(latents, self._stream, self._turns)

    def decoder(self) -> Decoder:
        with self._turns.turn(self._stream):
            decoder = self._engine.decoder()
        return _DecoderInTurns(decoder, self._stream, self._turns)


@dataclass
class _LatentsInTurns:
    latents: Latents
    stream: _Stream
    turns: Turns

    def step(self, noise: np.ndarray) -> Step:
        with self.turns.turn(self.stream):
            return self.latents.step(noise)


@dataclass
class _DecoderInTurns:
    decoder: Decoder
    stream: _Stream
    turns: Turns

    def decode(self, latents: np.ndarray) -> np.ndarray:
        with self.turns.turn(self.stream):
            audio = self.decoder.decode(latents)
        self.turns.made(self.stream, audio.shape[0])
        return audio
