"""A generator that computes in a thread of its own and is read from an asyncio task."""

import asyncio
import queue
import threading
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
)
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pocket_tts_jax.errors import GenerationError

T = TypeVar("T")
_END = object()


@dataclass
class _Told:
    item: Any


class Threaded(Generic[T]):
    """An async iterator over what `make(self)` yields, which runs in a thread.

    The thread is at most `ahead` items before its reader. It ends with its last item, when `stop`
    is called, when nobody has read for `patience` seconds while it was waiting, or `limit` seconds
    after it began; the last two raise GenerationError in the reader. `make` ends when `stopping`
    is set, and may `tell` the reader of more than it yields. `on_end` is called in the event loop
    after the thread's work has ended, however it ended. Make one where an event loop runs.
    """

    def __init__(
        self,
        make: Callable[["Threaded[T]"], Iterator[T]],
        *,
        ahead: int = 64,
        patience: float = float("inf"),
        limit: float = float("inf"),
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._make, self._patience = make, patience
        self._loop, self._on_end = asyncio.get_running_loop(), on_end
        self._items: asyncio.Queue[object] = asyncio.Queue()
        self._room = threading.Semaphore(ahead)
        self.stopping = threading.Event()
        self.ended = asyncio.Event()
        self._finished = False
        self._over_limit: GenerationError | None = None
        self._timer = None
        if limit < float("inf"):
            self._timer = self._loop.call_later(limit, self._end_at_limit, limit)
        threading.Thread(target=self._run, name="pocket-tts speech", daemon=True).start()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._finished:
            raise StopAsyncIteration
        item = await self._items.get()
        if isinstance(item, _Told):
            return item.item
        self._room.release()
        if item is _END or isinstance(item, BaseException):
            self._finished = True
            if isinstance(item, BaseException):
                raise item
            raise StopAsyncIteration
        return item  # type: ignore[return-value]

    def stop(self) -> None:
        """End the thread's work as soon as it can; `ended` says when that has happened."""
        self.stopping.set()

    def tell(self, item: T) -> None:
        """Called by `make`: hand an item to the reader now, without waiting for room."""
        self._call(self._items.put_nowait, _Told(item))

    def _run(self) -> None:
        result: object = _END
        try:
            with closing(_closable(self._make(self))) as items:
                for item in items:
                    self._wait_for_room()
                    if self.stopping.is_set():
                        break
                    self._call(self._items.put_nowait, item)
        except BaseException as error:  # handed to the reader, who raises it
            result = error
        self.stopping.set()
        self._call(self._items.put_nowait, self._over_limit or result)
        self._call(self._end)

    def _wait_for_room(self) -> None:
        waiting = time.monotonic()
        while not self.stopping.is_set():
            if self._room.acquire(timeout=0.05):
                return
            if time.monotonic() - waiting > self._patience:
                raise GenerationError(f"Nobody read the speech for {self._patience:g} seconds.")

    def _end_at_limit(self, limit: float) -> None:
        self._over_limit = GenerationError(f"Speech ended at its limit of {limit:g} seconds.")
        self.stopping.set()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.ended.set()
        self._on_end()

    def _call(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            pass  # the loop was closed: nobody reads any more


def _closable(items: Iterator[T]) -> Generator[T, None, None]:
    """`items` as a generator, whose `close` closes them where they can be closed."""
    yield from items


class Pieces:
    """Pieces of text from any thread or task, for a thread that iterates over them.

    Iteration waits for `put`, and ends after `end`, or when no piece came for `patience` seconds.
    """

    def __init__(self, patience: float | None = None) -> None:
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._patience = patience

    def put(self, piece: str) -> None:
        self._queue.put(piece)

    def end(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[str]:
        while True:
            try:
                piece = self._queue.get(timeout=self._patience)
            except queue.Empty:
                return
            if piece is None:
                return
            yield piece


async def speak_pieces(
    texts: AsyncIterable[str],
    speak: Callable[[Iterator[str], threading.Event], Iterator[T]],
    stop: threading.Event | None,
) -> AsyncGenerator[T, None]:
    """What `speak` yields for the pieces of text that `texts` yields, both in the event loop.

    An error of `texts` is raised here, after what was made of the text before it.
    """
    pieces = Pieces()
    failures: list[BaseException] = []

    async def feed() -> None:
        try:
            async for piece in texts:
                pieces.put(piece)
        except Exception as error:
            failures.append(error)
        finally:
            pieces.end()

    def make(thread: Threaded[T]) -> Iterator[T]:
        closing = thread.stopping
        return speak(iter(pieces), closing if stop is None else _Either(closing, stop))

    feeding = asyncio.create_task(feed())
    speech = Threaded(make)
    try:
        async for item in speech:
            yield item
        if failures:
            raise failures[0]
    finally:
        feeding.cancel()
        pieces.end()
        speech.stop()
        await speech.ended.wait()


class _Either(threading.Event):
    """Set when the event itself or another one is set."""

    def __init__(self, closing: threading.Event, other: threading.Event) -> None:
        super().__init__()
        self._events = closing, other

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)
