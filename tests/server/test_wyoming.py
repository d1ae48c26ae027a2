"""Home Assistant's protocol, with the package `wyoming` as the client."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator

import numpy as np
import pytest
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from pocket_tts_jax.server.settings import ServerSettings
from tests.patience import PATIENCE
from tests.server.running import Running, running
from tests.server.test_websocket import cut

TEXT = "The lights in the kitchen are on, as you asked. It is warm. Good night."
TAIL = 2 * 4800


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Running, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = ServerSettings(port=0, wyoming=("127.0.0.1", port), aliases={"narrator": "joe"})
    with running(settings) as server:
        yield server, port


def talk(port: int, *events: Event, until: Callable[[Event], bool]) -> list[Event]:
    """Send events, and collect the answers up to one."""

    async def run() -> list[Event]:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            for event in events:
                await client.write_event(event)
            answers = []
            while (answer := await _soon(client.read_event())) is not None:
                answers.append(answer)
                if until(answer):
                    break
            return answers

    return asyncio.run(run())


async def _soon(answer: Awaitable[Event | None]) -> Event | None:
    return await asyncio.wait_for(answer, PATIENCE)


def sound(events: list[Event]) -> bytes:
    parts = [AudioChunk.from_event(one) for one in events if AudioChunk.is_type(one.type)]
    assert {(part.rate, part.width, part.channels) for part in parts} == {(24000, 2, 1)}
    return b"".join(part.audio for part in parts)


def is_stop(event: Event) -> bool:
    return AudioStop.is_type(event.type)


def test_describe_names_every_voice(place: tuple[Running, int]):
    """A voice that is missing there stays silent in Home Assistant."""
    answers = talk(place[1], Describe().event(), until=lambda event: True)
    info = Info.from_event(answers[0])
    assert [voice.name for voice in info.tts[0].voices] == ["joe", "mia", "otto", "una", "narrator"]
    assert info.tts[0].voices[0].languages == ["en"]
    assert info.tts[0].supports_synthesize_streaming


def test_synthesize(place: tuple[Running, int]):
    voice = SynthesizeVoice(name="narrator")
    answers = talk(place[1], Synthesize(TEXT, voice=voice).event(), until=is_stop)
    assert AudioStart.is_type(answers[0].type) and is_stop(answers[-1])
    assert len(answers) > 5
    data = sound(answers)
    assert len(data) > 48000 and not any(data[-TAIL:]) and any(data[-TAIL - 4 : -TAIL])


def test_text_in_pieces(place: tuple[Running, int]):
    whole = sound(talk(place[1], Synthesize(TEXT).event(), until=is_stop))
    pieces = [SynthesizeChunk(piece).event() for piece in cut(TEXT, 1, 5)]
    events = [SynthesizeStart().event(), *pieces, Synthesize(TEXT).event()]
    answers = talk(
        place[1],
        *events,
        SynthesizeStop().event(),
        until=lambda event: SynthesizeStopped.is_type(event.type),
    )
    assert SynthesizeStopped.is_type(answers[-1].type) and is_stop(answers[-2])
    assert sum(AudioStart.is_type(one.type) for one in answers) == 1
    streamed = sound(answers)
    assert len(streamed) == len(whole)  # another seed, the same chunks
    assert np.frombuffer(streamed, "<i2").any()


def test_sound_before_the_text_has_ended(place: tuple[Running, int]):
    async def run() -> None:
        async with AsyncTcpClient("127.0.0.1", place[1]) as client:
            await client.write_event(SynthesizeStart().event())
            await client.write_event(SynthesizeChunk(TEXT[:60]).event())
            first = await _soon(client.read_event())
            assert first is not None and AudioStart.is_type(first.type)
            await client.write_event(SynthesizeStop().event())

    asyncio.run(run())


def test_long_text(place: tuple[Running, int]):
    data = sound(talk(place[1], Synthesize(TEXT * 20).event(), until=is_stop))
    assert len(data) > 20 * 48000


@pytest.mark.parametrize(
    ("text", "voice"), [("", None), ("日本", None), (TEXT, "nobody"), (TEXT, "../../x")]
)
def test_errors_are_told(place: tuple[Running, int], text: str, voice: str | None):
    named = None if voice is None else SynthesizeVoice(name=voice)
    answers = talk(place[1], Synthesize(text, voice=named).event(), until=lambda event: True)
    assert Error.is_type(answers[0].type) and Error.from_event(answers[0]).text


def test_who_leaves_ends_the_generation(place: tuple[Running, int]):
    server, port = place
    server.engine.delay, before = 0.02, server.engine.steps
    try:
        talk(port, Synthesize(TEXT * 20).event(), until=lambda event: True)
        server.wait_until_idle()
        steps = server.engine.steps
        server.wait_until_idle()
        assert server.engine.steps == steps < before + server.steps_of(TEXT * 20) / 2
    finally:
        server.engine.delay = 0.0


def test_garbage_harms_nobody_else(place: tuple[Running, int]):
    with socket.create_connection(("127.0.0.1", place[1])) as stranger:
        stranger.sendall(b"\x00\xffGET / HTTP/1.1\r\n\r\n{}\n")
    test_describe_names_every_voice(place)
