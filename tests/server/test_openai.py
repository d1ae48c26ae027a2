"""OpenAI's routes, asked by OpenAI's own client, by curl and by plain HTTP."""

import asyncio
import base64
import io
import json
import shutil
import socket
import subprocess

import av
import httpx
import numpy as np
import openai
import pytest
import soundfile

from pocket_tts_jax.server.settings import ServerSettings
from tests.patience import PATIENCE
from tests.server.running import Running, running

TEXT = "The train was late again, so we walked home. Nobody minded."
TAIL = 4800  # samples of silence behind every format with a header
REST = {"mp3": 3 * 1152, "aac": 3 * 1024, "opus": 0, "flac": 0, "wav": 0}


@pytest.fixture(scope="module")
def client(server: Running):
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def http(server: Running):
    with httpx.Client(base_url=server.address, timeout=PATIENCE) as client:
        yield client


def speech(http: httpx.Client, **fields) -> httpx.Response:
    return http.post("/v1/audio/speech", json={"input": TEXT, "seed": 3} | fields)


def pcm(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2")


def decoded(data: bytes) -> tuple[int, int]:
    """Samples and rate of a file, decoded to its end by FFmpeg's libraries."""
    with av.open(io.BytesIO(data), "r") as file:
        stream = file.streams.audio[0]
        return sum(frame.samples for frame in file.decode(stream)), stream.rate


@pytest.fixture(scope="module")
def samples(http: httpx.Client) -> np.ndarray:
    return pcm(speech(http, response_format="pcm").content)


def test_official_client_streams(client: openai.OpenAI, samples: np.ndarray):
    parts = []
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="joe", input=TEXT, response_format="pcm", extra_body={"seed": 3}
    ) as response:
        assert response.headers["content-type"] == "audio/pcm"
        parts += list(response.iter_bytes(chunk_size=None))
    assert len(parts) > 3
    assert np.array_equal(pcm(b"".join(parts)), samples)


def test_official_async_client(server: Running, samples: np.ndarray):
    async def ask() -> bytes:
        async with openai.AsyncOpenAI(base_url=f"{server.address}/v1", api_key="none") as client:
            answers = [
                client.audio.speech.create(
                    model="gpt-4o-mini-tts",
                    voice="joe",
                    input=TEXT,
                    response_format="pcm",
                    extra_body={"seed": 3},
                )
                for _ in range(3)
            ]
            contents = [answer.content for answer in await asyncio.gather(*answers)]
            assert len(set(contents)) == 1
            return contents[0]

    assert np.array_equal(pcm(asyncio.run(ask())), samples)


def test_default_format_is_mp3_as_with_openai(client: openai.OpenAI):
    answer = client.audio.speech.create(model="tts-1-hd", voice="joe", input=TEXT)
    assert answer.response.headers["content-type"] == "audio/mpeg"
    assert soundfile.info(io.BytesIO(answer.content)).format == "MP3"


def events_of(text: str) -> list[dict]:
    assert text.endswith("\n\n")
    blocks = text.strip().split("\n\n")
    assert all(block.startswith("data: ") for block in blocks)
    return [json.loads(block[6:]) for block in blocks]


def test_server_sent_events(client: openai.OpenAI, samples: np.ndarray):
    """LiveKit asks for them for every model that is not named tts-1 or tts-1-hd."""
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts",
        voice="joe",
        input=TEXT,
        response_format="pcm",
        stream_format="sse",
        extra_body={"seed": 3},
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = events_of(response.read().decode())
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["total_tokens"] > 0
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert np.array_equal(pcm(audio), samples)


def test_events_with_times(http: httpx.Client, samples: np.ndarray):
    text = speech(http, response_format="pcm", stream_format="sse", timestamps=True).text
    events = events_of(text)
    words = [event for event in events if event["type"] == "speech.word"]
    assert [word["text"] for word in words] == TEXT.replace(",", "").replace(".", "").split()
    assert [TEXT[slice(*word["characters"])] for word in words] == [w["text"] for w in words]
    assert words[0]["start"] < words[1]["start"] < words[-1]["end"] <= samples.size / 24000
    chunks = [event for event in events if event["type"] == "speech.chunk"]
    assert " ".join(chunk["text"] for chunk in chunks) == TEXT
    assert chunks[0]["start"] == 0 and all(chunk["complete"] for chunk in chunks)
    assert chunks[-1]["end"] == pytest.approx(samples.size / 24000, abs=0.001)


@pytest.mark.parametrize(
    ("format", "kind", "begins"),
    [
        ("vtt", "text/vtt", "WEBVTT\n"),
        ("srt", "application/x-subrip", "1\n00:00:00,"),
        ("json", "application/json", "{"),
    ],
)
def test_captions(http: httpx.Client, format: str, kind: str, begins: str):
    body = {"input": TEXT, "seed": 3, "format": format}
    answer = http.post("/v1/audio/captions", json=body)
    assert answer.headers["content-type"] == kind and answer.text.startswith(begins)
    assert "walked" in answer.text
    assert http.post("/v1/audio/captions", json={"input": TEXT}).status_code == 400


@pytest.mark.parametrize("format", sorted(REST))
@pytest.mark.parametrize("stream", [True, False])
def test_every_format_is_whole(http: httpx.Client, samples: np.ndarray, format: str, stream: bool):
    answer = speech(http, response_format=format, stream=stream)
    assert answer.status_code == 200
    assert ("content-length" in answer.headers) != stream
    count, rate = decoded(answer.content)
    wanted = (samples.size + TAIL) * rate // 24000
    assert wanted <= count <= wanted + REST[format]


@pytest.mark.parametrize("format", ["wav", "flac", "opus", "mp3"])
def test_soundfile_reads_the_default_answer(http: httpx.Client, samples: np.ndarray, format: str):
    read, rate = soundfile.read(io.BytesIO(speech(http, response_format=format).content))
    assert rate == 24000 and 0 <= read.size - samples.size - TAIL <= REST[format]
    if format in ("wav", "flac"):
        assert np.array_equal(np.round(read[: samples.size] * 32768), samples)
        assert not read[samples.size :].any()


def test_one_header_each(http: httpx.Client):
    wav = speech(http, response_format="wav").content
    assert wav.count(b"RIFF") == 1 and wav[:4] == b"RIFF"
    assert wav[40:44] == b"\xff\xff\xff\xff"  # a stream: players read to the end
    whole = speech(http, response_format="wav", stream=False).content
    assert int.from_bytes(whole[40:44], "little") == len(whole) - 44
    opus = speech(http, response_format="opus").content
    assert opus.count(b"OpusHead") == 1 and opus[:4] == b"OggS"
    assert speech(http, response_format="flac").content.count(b"fLaC") == 1


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
@pytest.mark.parametrize("format", sorted(REST))
def test_ffprobe(http: httpx.Client, samples: np.ndarray, tmp_path, format: str):
    path = tmp_path / f"x.{format}"
    path.write_bytes(speech(http, response_format=format).content)
    command = ["ffprobe", "-v", "error", "-count_packets", "-of", "json", "-show_packets", path]
    answer = subprocess.run(command, capture_output=True, check=True, text=True)
    assert answer.stderr == ""
    packets = json.loads(answer.stdout)["packets"]
    seconds = sum(float(packet["duration_time"]) for packet in packets)
    assert seconds == pytest.approx((samples.size + TAIL) / 24000, abs=0.13)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(server: Running, samples: np.ndarray):
    body = json.dumps({"input": TEXT, "seed": 3, "response_format": "pcm"})
    url = f"{server.address}/v1/audio/speech"
    command = ["curl", "-sS", "--fail", "-H", "Content-Type: application/json", "-d", body, url]
    answer = subprocess.run(command, capture_output=True, check=True)
    assert np.array_equal(pcm(answer.stdout), samples)


def test_the_first_audio_is_not_held_back(server: Running):
    """Nagle's algorithm is off; with it the audio waits 40 ms for the client's confirmation."""
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(1000)
        transports = list(server.loop._transports.values())  # type: ignore[attr-defined]
        (connection,) = [
            transport.get_extra_info("socket")
            for transport in transports
            if transport.get_extra_info("peername") == client.getsockname()
        ]
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_speed(http: httpx.Client, samples: np.ndarray):
    fast = pcm(speech(http, response_format="pcm", speed=2).content)
    assert fast.size == round(samples.size / 2)
    refused = speech(http, speed=3)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "speed"


def test_instructions_are_named_as_ignored(http: httpx.Client):
    answer = speech(http, instructions="Whisper.", response_format="pcm")
    assert answer.headers["x-pocket-tts-ignored"] == "instructions"
    assert "x-pocket-tts-ignored" not in speech(http, response_format="pcm").headers


def test_text_options(http: httpx.Client, samples: np.ndarray):
    paused = pcm(
        speech(http, input=f"{TEXT}[pause:0.5]", pauses=True, response_format="pcm").content
    )
    assert paused.size == samples.size + 12000 and not paused[-12000:].any()
    plain = speech(http, input="12 cats.", normalize=False, response_format="pcm")
    words = speech(http, input="12 cats.", normalize=True, response_format="pcm")
    assert plain.content != words.content


def test_models(client: openai.OpenAI, http: httpx.Client):
    names = [model.id for model in client.models.list()]
    assert names == ["embedded", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
    assert client.models.retrieve("tts-1").id == "tts-1"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("whisper-1")
    assert caught.value.code == "model_not_found"
    audio = http.get("/v1/audio/models").json()  # what Open WebUI asks
    assert {"id": "embedded", "name": "embedded"} in audio["models"]


def test_unknown_model(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.speech.create(model="gpt-9", voice="joe", input=TEXT)
    assert caught.value.param == "model" and "embedded" in str(caught.value)


def test_voices_are_objects(http: httpx.Client):
    """Open WebUI takes id and name of each; of plain strings it shows OpenAI's six instead."""
    answer = http.get("/v1/audio/voices").json()
    assert {voice["id"]: voice["name"] for voice in answer["voices"]} == {
        name: name for name in ("joe", "mia", "otto", "una", "narrator")
    }
    assert answer["default"] == "joe"


@pytest.mark.parametrize("voice", ["joe", {"id": "joe"}, "narrator", None])
def test_ways_to_name_a_voice(http: httpx.Client, samples: np.ndarray, voice: object):
    answer = speech(http, voice=voice, response_format="pcm")
    assert np.array_equal(pcm(answer.content), samples)


@pytest.mark.parametrize(
    "voice",
    [
        "alloy",
        "nobody",
        "../../etc/passwd",
        "/etc/passwd",
        "voices/joe.safetensors",
        "http://127.0.0.1:1/x.wav",
        "hf://kyutai/tts-voices/secret.wav",
        "hf://kyutai/tts-voices/alba-mackenna/casual.wav",  # of the catalogue, but not this model's
    ],
)
def test_other_voices_are_refused_alike(client: openai.OpenAI, voice: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="tts-1", voice=voice, input=TEXT)
    assert (caught.value.param, caught.value.code) == ("voice", "voice_not_found")
    assert "joe" in str(caught.value)


def test_names_of_openai_mean_the_default_voice_if_asked():
    with running(ServerSettings(port=0, aliases={"openai": ""})) as server:
        with httpx.Client(base_url=server.address, timeout=PATIENCE) as http:
            voices = {voice["id"] for voice in http.get("/v1/audio/voices").json()["voices"]}
            assert {"joe", "alloy", "nova", "shimmer"} <= voices
            same = [
                speech(http, voice=name, response_format="pcm").content for name in ("joe", "nova")
            ]
            assert same[0] == same[1]


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"input": ""}, "input"),
        ({"input": " \n "}, "input"),
        ({"input": "日本"}, "input"),
        ({"input": "x" * 5001}, "input"),
        ({"input": None}, "input"),
        ({"response_format": "wma"}, "response_format"),
        ({"speed": "fast"}, "speed"),
        ({"seed": -1}, "seed"),
        ({"timestamps": True}, "timestamps"),
        ({"stream": False, "stream_format": "sse"}, "stream"),
    ],
)
def test_bad_requests(http: httpx.Client, fields: dict, parameter: str):
    answer = speech(http, **fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" and error["param"] == parameter
    assert error["message"]


def test_bodies_that_are_no_requests(http: httpx.Client):
    for content in (b"", b"{", b"[]", b"\xff\xfe", b'{"input": {}}', b"null"):
        answer = http.post(
            "/v1/audio/speech", content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400 and answer.json()["error"]["message"]


def test_first_bytes_come_before_the_last_are_made(server: Running, http: httpx.Client):
    server.engine.delay = 0.02
    try:
        before = server.engine.steps
        with http.stream(
            "POST", "/v1/audio/speech", json={"input": TEXT, "response_format": "pcm"}
        ) as answer:
            parts = answer.iter_raw()
            next(parts)
            early = server.engine.steps - before
            assert sum(1 for _ in parts) > 3
        assert early < (server.engine.steps - before) / 2
    finally:
        server.engine.delay = 0.0
