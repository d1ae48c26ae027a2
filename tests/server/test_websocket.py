"""Text in pieces over a WebSocket, with the package `websockets` as the client."""

import json
import random
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.patience import PATIENCE
from tests.server.running import Running

TEXT = (
    "Well, I think that the weather, which was bad on May 5, 2020, will stay as it is. Dr. Smith "
    "paid $5.50 for No. 5. Nobody minded that. See you at 3 p.m. tomorrow, then."
)


class Client:
    """Sends orders, and sorts what comes."""

    def __init__(self, socket: ClientConnection):
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.audio = b""

    def send(self, kind: str, **fields: object) -> None:
        self.socket.send(json.dumps({"type": kind} | fields))

    def until(self, kind: str) -> dict[str, Any]:
        """Take in messages up to one of this kind, or an error."""
        while True:
            message = self.socket.recv(timeout=PATIENCE)
            if isinstance(message, bytes):
                assert self.events[-1]["type"] == "audio"
                assert self.events[-1]["bytes"] == len(message)
                self.audio += message
                continue
            event = json.loads(message)
            self.events.append(event)
            if event["type"] in (kind, "error"):
                return event

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


def open_socket(server: Running, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/v1/audio/stream", **options)


def spoken(server: Running, pieces: list[str], **start: object) -> Client:
    with open_socket(server) as socket:
        client = Client(socket)
        client.send("start", seed=5, **start)
        assert client.until("ready")["sample_rate"] == 24000
        for piece in pieces:
            client.send("text", text=piece)
        client.send("end")
        assert client.until("done")["type"] == "done"
    return client


def cut(text: str, seed: int, longest: int) -> list[str]:
    draw, pieces = random.Random(seed), []
    while text:
        size = draw.randint(1, longest)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@pytest.fixture(scope="module")
def whole(server: Running) -> Client:
    return spoken(server, [TEXT])


@pytest.mark.parametrize("longest", [1, 6, 50])
def test_where_pieces_are_cut_changes_nothing(server: Running, whole: Client, longest: int):
    assert spoken(server, cut(TEXT, longest, longest)).audio == whole.audio


def test_the_same_as_over_http(server: Running, whole: Client):
    body = {"input": TEXT, "seed": 5, "response_format": "pcm", "early_start": True}
    answer = httpx.post(f"{server.address}/v1/audio/speech", json=body, timeout=PATIENCE)
    assert answer.content == whole.audio


def test_times_cover_the_audio(whole: Client):
    audio, chunks = whole.of_kind("audio"), whole.of_kind("chunk")
    assert audio[0]["start"] == 0
    for before, after in zip(audio, audio[1:], strict=False):
        assert before["end"] == after["start"]
    seconds = len(whole.audio) / 2 / 24000
    assert audio[-1]["end"] == chunks[-1]["end"] == pytest.approx(seconds, abs=0.001)
    assert [chunk["index"] for chunk in chunks] == list(range(len(chunks)))
    assert chunks[0]["text"] == "Well, I think that the weather."
    done = whole.events[-1]
    assert done["seconds"] == pytest.approx(seconds, abs=0.001) and done["chunks"] == len(chunks)


def test_words_have_times(server: Running):
    """Their characters are those of all the text that was sent, flushed or not."""
    with open_socket(server) as socket:
        client = Client(socket)
        client.send("start", words=True, seed=5)
        client.send("text", text="  ")
        for piece in cut(TEXT, 4, 9):
            client.send("text", text=piece)
        client.send("flush")
        client.send("text", text=" Then 12 went.")
        client.send("end")
        client.until("done")
    sent, words = f"  {TEXT} Then 12 went.", client.of_kind("word")
    for word in words:
        assert sent[slice(*word["characters"])] == word["text"]
    assert [word["text"] for word in words[-3:]] == ["Then", "12", "went"]
    assert "$5.50" in [word["text"] for word in words]
    starts = [word["start"] for word in words]
    assert starts == sorted(starts) and len(words) == len(sent.split())
    heard = client.of_kind("audio")[-1]["end"]
    assert words[-1]["end"] <= heard


def test_a_clause_is_spoken_before_the_sentence_ends(server: Running):
    with open_socket(server) as socket:
        client = Client(socket)
        client.send("start")
        client.send("text", text="Well, I think that the weather, which ")
        assert client.until("chunk")["text"] == "Well, I think that the weather."
        assert len(client.audio) > 0


def test_flush_speaks_what_is_there(server: Running):
    with open_socket(server) as socket:
        client = Client(socket)
        client.send("text", text="Just a mo")
        client.until("ready")  # without a start, all is as by default
        client.send("flush")
        flushed = client.until("flushed")
        assert client.of_kind("chunk")[0]["text"] == "Just a mo."
        assert flushed["at"] == pytest.approx(len(client.audio) / 48000, abs=0.001)
        client.send("text", text="ment. Then")
        client.send("end")
        client.until("done")
        assert [chunk["index"] for chunk in client.of_kind("chunk")] == [0, 1]
        assert client.of_kind("chunk")[1]["start"] == pytest.approx(flushed["at"], abs=0.001)


def test_flush_of_nothing_is_answered(server: Running):
    with open_socket(server) as socket:
        client = Client(socket)
        client.send("start")
        client.send("flush")
        assert client.until("flushed") == {"type": "flushed", "at": 0.0}
        client.send("end")
        assert client.until("done")["seconds"] == 0


def test_clear_is_silent_within_two_frames_and_forgets(server: Running):
    server.engine.delay = 0.02
    try:
        with open_socket(server) as socket:
            client = Client(socket)
            client.send("start")
            client.send("text", text=TEXT * 3)
            client.send("flush")
            client.send("text", text="Never heard.")
            client.until("audio")
            client.send("clear")
            before = len(client.of_kind("audio"))
            cleared = client.until("cleared")
            assert len(client.of_kind("audio")) - before <= 2 + 2  # two on their way meanwhile
            assert cleared["at"] == client.of_kind("audio")[-1]["end"]
            steps = server.engine.steps
            server.engine.delay = 0.0
            client.send("text", text="Yes?")
            client.send("end")
            client.until("done")
            assert [chunk["text"] for chunk in client.of_kind("chunk")] == ["Yes?"]
            assert server.engine.steps - steps < 20
            assert client.of_kind("chunk")[0]["start"] == pytest.approx(cleared["at"], abs=0.001)
    finally:
        server.engine.delay = 0.0


def test_one_compressed_file_for_a_conversation(server: Running, whole: Client):
    from tests.server.test_openai import decoded

    client = spoken(server, [TEXT], format="opus")
    assert client.audio.count(b"OpusHead") == 1
    count, rate = decoded(client.audio)
    assert count * 24000 // rate == pytest.approx(len(whole.audio) // 2, abs=1)


def test_who_leaves_ends_the_generation(server: Running):
    server.engine.delay, before = 0.02, server.engine.steps
    try:
        with open_socket(server) as socket:
            client = Client(socket)
            client.send("text", text=TEXT * 20)
            client.send("flush")
            client.until("audio")
        server.wait_until_idle()
        steps = server.engine.steps
        assert steps - before < server.steps_of(TEXT * 20) / 2
        assert httpx.get(f"{server.address}/health", timeout=PATIENCE).status_code == 200
        assert server.engine.steps == steps
    finally:
        server.engine.delay = 0.0


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("{", "message"),
        ('{"type": "sing"}', "message"),
        ('{"type": "text"}', "text"),
        ('{"type": "text", "text": "x", "more": 1}', "more"),
        ('{"type": "start", "speed": 9}', "speed"),
        ('{"type": "start", "voice": "../x"}', "voice"),
        ('{"type": "start", "model": "x"}', "model"),
        (b"\x00\x01", ""),
    ],
)
def test_what_cannot_be_understood_is_told(server: Running, message: str | bytes, told: str):
    with open_socket(server) as socket:
        socket.send(message)
        event = json.loads(socket.recv(timeout=PATIENCE))
        assert event["type"] == "error" and told in str(event["error"])
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=PATIENCE)
        assert socket.close_code == 1008


def test_start_comes_once(server: Running):
    with open_socket(server) as socket:
        client = Client(socket)
        client.send("start")
        client.send("start")
        assert client.until("error")["error"]["code"] == "invalid_message"


def test_texts_have_a_limit(server: Running):
    with open_socket(server) as socket:
        client = Client(socket)
        client.send("text", text="word " * 600)
        client.send("text", text="word " * 600)
        assert client.until("error")["error"]["code"] == "text_too_long"


def test_a_text_without_sound_is_told(server: Running):
    with open_socket(server) as socket:
        client = Client(socket)
        client.send("text", text="日本")
        client.send("end")
        assert client.until("error")["error"]["code"] == "invalid_text"


def test_pages_of_others_may_not_listen(server: Running):
    with pytest.raises(InvalidStatus) as caught:
        open_socket(server, origin="http://evil.example")
    assert caught.value.response.status_code == 403
    with open_socket(server, origin=f"http://127.0.0.1:{server.port}") as socket:
        socket.send('{"type": "end"}')


def test_samples_are_little_endian_integers(whole: Client):
    samples = np.frombuffer(whole.audio, "<i2")
    assert 0 < np.abs(samples).max() < 32767
