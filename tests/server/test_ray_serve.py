"""The deployment for Ray Serve, on a Ray of this machine with two replicas."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from pocket_tts_jax import TTSModel
from tests.folders import ROOT
from tests.patience import PATIENCE

ray = pytest.importorskip("ray", reason="needs Ray: see requirements/server.txt")
serve = pytest.importorskip("ray.serve", reason="needs Ray Serve: see requirements/server.txt")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
KEY = {"Authorization": "Bearer secret"}
TEXT = "Well, the train was late."


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from deploy.ray_serve import build

    port = free_port()
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        _system_config={"worker_niceness": 0},  # at Ray's 15 they do not start beside other tests
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(build({"replicas": 2, "processors": 1, "api_key": "secret"}))
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


def speak(address: str, **options: object) -> httpx.Response:
    body = {"input": TEXT, "seed": 3, "response_format": "pcm"} | options
    return httpx.post(f"{address}/v1/audio/speech", json=body, headers=KEY, timeout=PATIENCE)


def test_two_replicas_speak_alike(address: str):
    replicas = serve.status().applications["default"].deployments["speech"].replica_states
    assert replicas == {"RUNNING": 2}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: speak(address), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    model = TTSModel.load_model()
    voice = model.get_state_for_audio_prompt(model.default_voice())
    samples = model.generate_audio(voice, TEXT, seed=3)
    heard = np.frombuffer(answers[0].content, np.int16)
    assert heard.size == samples.size


def test_events_come_through(address: str):
    events = [
        json.loads(block.removeprefix("data: "))
        for block in speak(address, stream_format="sse", timestamps=True).text.strip().split("\n\n")
    ]
    words = [event["text"] for event in events if event["type"] == "speech.word"]
    assert words == "Well the train was late".split()
    assert events[-1]["type"] == "speech.audio.done"


def test_websocket(address: str):
    url = address.replace("http", "ws") + "/v1/audio/stream"
    with connect(url, additional_headers=KEY) as socket:
        for message in ({"type": "start", "seed": 3}, {"type": "text", "text": TEXT}):
            socket.send(json.dumps(message))
        socket.send(json.dumps({"type": "end"}))
        messages = list(socket)
    kinds = [json.loads(message)["type"] for message in messages if isinstance(message, str)]
    assert kinds[0] == "ready" and kinds[-1] == "done"
    audio = b"".join(message for message in messages if isinstance(message, bytes))
    assert audio == speak(address).content


def test_the_key_is_asked_for(address: str):
    assert httpx.get(f"{address}/v1/models", timeout=PATIENCE).status_code == 401
    assert httpx.get(f"{address}/health", timeout=PATIENCE).status_code == 200
    assert "Pocket TTS" in httpx.get(address, timeout=PATIENCE).text
