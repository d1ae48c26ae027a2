"""Generators in threads of their own, read by asyncio tasks, and text that arrives meanwhile."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.generation.threaded import Pieces, Threaded, speak_pieces
from tests.patience import PATIENCE


def threads() -> int:
    """Threads of speech that do not end: one may still be on its way after its last word."""
    ours = [thread for thread in threading.enumerate() if thread.name == "pocket-tts speech"]
    for thread in ours:
        thread.join(PATIENCE)
    return sum(thread.is_alive() for thread in ours)


def test_items_in_order_and_their_end():
    async def run() -> list[int]:
        ends = []
        numbers = Threaded(lambda thread: iter(range(200)), ahead=4, on_end=lambda: ends.append(1))
        items = [item async for item in numbers]
        await numbers.ended.wait()
        assert ends == [1]
        with pytest.raises(StopAsyncIteration):
            await anext(numbers)
        return items

    assert asyncio.run(run()) == list(range(200))


def test_no_further_ahead_than_allowed():
    made = []

    def make(thread: Threaded[int]) -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    async def run() -> None:
        numbers = Threaded(make, ahead=3)
        assert await anext(numbers) == 0
        await asyncio.sleep(0.05)
        assert len(made) <= 5
        numbers.stop()
        await numbers.ended.wait()
        assert len(made) <= 5

    asyncio.run(run())


def test_errors_reach_the_reader_and_generators_are_closed():
    closed = threading.Event()

    def make(thread: Threaded[int]) -> Iterator[int]:
        try:
            yield 1
            raise ValueError("wrong")
        finally:
            closed.set()

    async def run() -> None:
        numbers = Threaded(make)
        assert await anext(numbers) == 1
        with pytest.raises(ValueError, match="wrong"):
            await anext(numbers)

    asyncio.run(run())
    assert closed.wait(PATIENCE)


def test_what_is_told_needs_no_room():
    def make(thread: Threaded[str]) -> Iterator[str]:
        yield "first"
        for name in "abc":
            thread.tell(name)
        yield "last"

    async def run() -> list[str]:
        return [item async for item in Threaded(make, ahead=1)]

    assert asyncio.run(run()) == ["first", "a", "b", "c", "last"]


def test_who_does_not_read_is_given_up():
    async def run() -> None:
        numbers = Threaded(lambda thread: iter(range(10)), ahead=1, patience=0.1)
        await numbers.ended.wait()
        assert await anext(numbers) == 0
        with pytest.raises(GenerationError, match="Nobody read"):
            await anext(numbers)

    asyncio.run(run())


def test_limit_of_time_holds_while_nothing_is_yielded():
    def make(thread: Threaded[int]) -> Iterator[int]:
        thread.stopping.wait(PATIENCE)
        yield from ()

    async def run() -> None:
        with pytest.raises(GenerationError, match="0.1 seconds"):
            await anext(Threaded(make, limit=0.1))

    asyncio.run(run())


def test_pieces():
    pieces = Pieces()
    for piece in ("a", "", "b"):
        pieces.put(piece)
    pieces.end()
    pieces.put("late")
    assert list(pieces) == ["a", "", "b"]
    began = time.monotonic()
    assert list(Pieces(patience=0.05)) == [] and time.monotonic() - began >= 0.05


async def letters(text: str) -> AsyncIterator[str]:
    for letter in text:
        await asyncio.sleep(0)
        yield letter


def test_texts_of_the_event_loop():
    def speak(pieces: Iterator[str], stop: threading.Event) -> Iterator[str]:
        for piece in pieces:
            yield piece.upper()

    async def run() -> str:
        return "".join([part async for part in speak_pieces(letters("hello"), speak, None)])

    assert asyncio.run(run()) == "HELLO"
    assert threads() == 0


def test_errors_of_texts_come_after_what_was_said():
    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise OSError("the model has gone")

    heard = []

    def speak(pieces: Iterator[str], stop: threading.Event) -> Iterator[str]:
        yield from pieces

    async def run() -> None:
        async for part in speak_pieces(broken(), speak, None):
            heard.append(part)

    with pytest.raises(OSError, match="has gone"):
        asyncio.run(run())
    assert heard == ["a"] and threads() == 0


@pytest.mark.parametrize("own_event", [False, True])
def test_leaving_early_ends_the_thread(own_event: bool):
    async def endless() -> AsyncIterator[str]:
        while True:
            await asyncio.sleep(0.001)
            yield "x"

    seen = []

    def speak(pieces: Iterator[str], stop: threading.Event) -> Iterator[str]:
        seen.append(stop)
        for piece in pieces:
            if stop.is_set():
                return
            yield piece

    async def run() -> None:
        stop = threading.Event()
        speech = speak_pieces(endless(), speak, stop if own_event else None)
        await anext(speech)
        if own_event:
            stop.set()
            async for _ in speech:
                pass
        await speech.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())
    assert seen[0].is_set() and threads() == 0
