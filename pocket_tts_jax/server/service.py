"""Shared by all routes: settings, models, places to speak, and the threads that speak."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from pocket_tts_jax.generation.threaded import Threaded
from pocket_tts_jax.server.admission import Admission
from pocket_tts_jax.server.metrics import Metrics
from pocket_tts_jax.server.models import ModelShelf, ServedModel
from pocket_tts_jax.server.problems import Problem
from pocket_tts_jax.server.settings import ServerSettings

T = TypeVar("T")
_AHEAD = 32  # pieces of 80 ms that a stream may be ahead of its client


@dataclass
class Service:
    """One server. Belongs to one event loop."""

    settings: ServerSettings
    shelf: ModelShelf
    metrics: Metrics = field(default_factory=Metrics)
    admission: Admission = field(init=False)
    streams: set[Threaded] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.admission = Admission(self.settings.max_streams, self.settings.max_waiting)
        self.metrics.running.set_function(lambda: self.admission.running)
        self.metrics.waiting.set_function(lambda: self.admission.waiting)
        self.metrics.models.set_function(lambda: len(self.shelf.loaded))

    def check_text(self, text: str, parameter: str = "input") -> None:
        """Raise Problem 400 for a text that is empty or too long."""
        if not text.strip():
            raise Problem(400, "Text cannot be empty", parameter, "empty_text")
        if len(text) > self.settings.max_text:
            raise Problem(
                400,
                f"The text has {len(text)} characters; this server speaks at most "
                f"{self.settings.max_text} at once. Send it in parts.",
                parameter,
                "text_too_long",
            )

    @asynccontextmanager
    async def run(
        self, served: ServedModel, make: Callable[[Threaded[T]], Iterator[T]]
    ) -> AsyncIterator[Threaded[T]]:
        """Run `make` in a thread, on one of the places to speak.

        Place and model are given back when the thread ends, which may be a moment after the block.
        """
        await self.admission.enter()
        began = time.monotonic()
        served.users += 1  # for the thread, which may outlive its request by a moment

        def on_end() -> None:
            self.streams.discard(thread)
            self.shelf.give_back(served)
            self.admission.leave(time.monotonic() - began)

        thread = Threaded(
            make,
            ahead=_AHEAD,
            patience=self.settings.patience,
            limit=self.settings.max_seconds,
            on_end=on_end,
        )
        self.streams.add(thread)
        try:
            yield thread
        finally:
            thread.stop()

    async def drain(self) -> None:
        """Refuse new requests, and wait for running ones, for up to `drain` seconds."""
        self.admission.draining = True
        end = time.monotonic() + self.settings.drain
        while self.admission.running + self.admission.waiting and time.monotonic() < end:
            await asyncio.sleep(0.05)
        await self.stop()

    async def stop(self) -> None:
        """End the running requests."""
        streams = list(self.streams)
        for thread in streams:
            thread.stop()
        for thread in streams:
            await thread.ended.wait()
