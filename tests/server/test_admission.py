"""Places to speak, queues, turns, clients that leave or do not read, and the end."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from pocket_tts_jax.server.admission import Admission
from pocket_tts_jax.server.problems import Problem
from pocket_tts_jax.server.scheduler import Together, Turns, scheduler_for
from pocket_tts_jax.server.settings import ServerSettings
from tests.folders import ROOT
from tests.patience import PATIENCE, wait_until
from tests.server.running import Running, running
from tests.server.stub import StubEngine, stub_model
from tests.signals import signals_reach_children

TEXT = "The train was late again, so we walked home. Nobody minded that at all. "


def ask(server: Running, text: str = TEXT, **options) -> httpx.Response:
    body = {"input": text, "response_format": "pcm", "seed": 1} | options
    return httpx.post(f"{server.address}/v1/audio/speech", json=body, timeout=PATIENCE)


def test_too_many_are_told_to_come_again():
    with running(ServerSettings(port=0, max_streams=2, max_waiting=2), delay=0.01) as server:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: ask(server), range(8)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses.count(200) >= 4 and statuses.count(200) + statuses.count(429) == 8
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        for answer in refused:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["type"] == "rate_limit_error"
        whole = {answer.content for answer in answers if answer.status_code == 200}
        assert len(whole) == 1  # who waited hears the same
        assert ask(server).status_code == 200


def test_places_are_given_in_order():
    async def run() -> None:
        places = Admission(1, 2)
        await places.enter()
        order: list[str] = []

        async def wait(name: str) -> None:
            await places.enter()
            order.append(name)

        first = asyncio.create_task(wait("first"))
        second = asyncio.create_task(wait("second"))
        await asyncio.sleep(0)
        with pytest.raises(Problem) as caught:
            await places.enter()
        assert caught.value.status == 429 and caught.value.retry_after
        first.cancel()  # it has left the queue
        await asyncio.sleep(0)
        places.leave(1.0)
        await second
        assert order == ["second"] and (places.running, places.waiting) == (1, 0)
        places.leave()
        assert places.running == 0
        places.draining = True
        with pytest.raises(Problem) as caught:
            await places.enter()
        assert caught.value.status == 503

    asyncio.run(run())


def test_who_leaves_while_waiting_frees_the_queue():
    with running(ServerSettings(port=0, max_streams=1, max_waiting=1), delay=0.02) as server:
        url = f"{server.address}/v1/audio/speech"
        with httpx.stream("POST", url, json={"input": TEXT * 10}, timeout=PATIENCE) as first:
            assert first.status_code == 200
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url, json={"input": "x"}, timeout=0.3)
        server.wait_until_idle()
        assert ask(server, "Yes.").status_code == 200


@pytest.mark.parametrize("format", ["pcm", "mp3", "flac"])
def test_who_leaves_ends_the_generation(format: str):
    with running(delay=0.01) as server:
        body = {"input": TEXT * 30, "response_format": format}
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            data = json.dumps(body).encode()
            head = "POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            client.sendall(head.encode() + data)
            if format == "flac":  # sent whole: nothing comes before the end
                while server.engine.steps < 20:
                    time.sleep(0.005)
            else:
                client.recv(1000)
        server.wait_until_idle()
        steps = server.engine.steps
        time.sleep(0.1)
        assert server.engine.steps == steps < server.steps_of(TEXT * 30) / 2


def test_who_reads_nothing_is_given_up():
    with running(ServerSettings(port=0, patience=0.5)) as server:
        text = TEXT * 60
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            data = json.dumps({"input": text, "response_format": "wav"}).encode()
            head = "POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            client.sendall(head.encode() + data)
            server.wait_until_idle()


def test_requests_have_a_limit_of_time():
    with running(ServerSettings(port=0, max_seconds=0.3), delay=0.02) as server:
        answer = ask(server, TEXT * 10, stream=False)
        assert answer.status_code == 500 and "0.3 seconds" in answer.json()["error"]["message"]
        with pytest.raises(httpx.RemoteProtocolError):
            ask(server, TEXT * 10)  # what was sent before is no whole answer


def test_a_short_request_is_not_stuck_behind_books():
    with running(delay=0.004) as server:
        alone = timed(server, "Yes, of course.")
        stop = threading.Event()
        readers = [threading.Thread(target=listen, args=(server, stop)) for _ in range(4)]
        for reader in readers:
            reader.start()
        while server.engine.steps < 100:
            time.sleep(0.01)
        before = server.engine.steps
        beside = timed(server, "Yes, of course.")
        steps = server.engine.steps - before
        stop.set()
        for reader in readers:
            reader.join()
        assert alone.size == beside.size
        # 25 tokens, as many steps of others in between as there are, and a few on their way
        assert steps < 25 * 5 + 60


def timed(server: Running, text: str):
    import numpy as np

    return np.frombuffer(ask(server, text).content, "<i2")


def listen(server: Running, stop: threading.Event) -> None:
    body = {"input": TEXT * 40, "response_format": "pcm"}
    with httpx.stream(
        "POST", f"{server.address}/v1/audio/speech", json=body, timeout=PATIENCE
    ) as answer:
        for _ in answer.iter_raw():
            if stop.is_set():
                return


def test_turns_go_to_who_has_heard_nothing_yet():
    model = stub_model()
    now = [0.0]
    turns = Turns(model.engine, clock=lambda: now[0])
    old, new = turns.open(), turns.open()
    assert isinstance(old, type(new)) and old.config is model.config
    voice = model.get_state_for_audio_prompt("joe")
    prompt = next(iter(model.prompts("Yes.")))
    order: list[str] = []
    latents = old.start(voice, prompt, 1)  # type: ignore[arg-type]
    decoder = old.decoder()

    import numpy as np

    decoder.decode(np.zeros((8, model.config.latent_dim), np.float32))
    entered, leave = threading.Event(), threading.Event()
    model.engine.step = lambda: (entered.set(), leave.wait(PATIENCE))  # type: ignore[attr-defined]
    holding = threading.Thread(target=latents.step, args=(np.zeros(64, np.float32),))
    holding.start()
    entered.wait(PATIENCE)

    def wait_for(engine, name: str) -> None:
        engine.start(voice, prompt, 1)
        order.append(name)

    behind = threading.Thread(target=wait_for, args=(old, "old"))
    behind.start()
    while len(turns._waiting) < 1:
        time.sleep(0.001)
    first = threading.Thread(target=wait_for, args=(new, "new"))
    first.start()
    while len(turns._waiting) < 2:
        time.sleep(0.001)
    leave.set()
    for thread in (holding, behind, first):
        thread.join(PATIENCE)
    assert order == ["new", "old"]


def test_an_engine_that_batches_gets_all_calls():
    model = stub_model()
    assert isinstance(scheduler_for(model.engine), Turns)
    engine = StubEngine(model.config)
    engine.batches = True  # type: ignore[attr-defined]
    assert isinstance(scheduler_for(engine), Together)  # type: ignore[arg-type]
    assert scheduler_for(engine).open() is engine  # type: ignore[arg-type]


def test_at_the_end_streams_finish_and_new_ones_are_refused():
    with running(delay=0.01) as server:
        url = f"{server.address}/v1/audio/speech"
        body = {"input": TEXT, "response_format": "pcm", "seed": 1}
        wanted = ask(server).content
        with (
            httpx.Client(timeout=PATIENCE) as other,
            httpx.stream("POST", url, json=body, timeout=PATIENCE) as answer,
        ):
            parts = answer.iter_raw()
            got = next(parts)
            server.ask_to_stop()
            while (late := other.post(url, json=body)).status_code == 200:
                pass
            assert late.status_code == 503 and late.json()["error"]["code"] == "draining"
            assert other.get(f"{server.address}/health").status_code == 503
            got += b"".join(parts)
        assert got == wanted
        server.thread.join(PATIENCE)
        assert not server.thread.is_alive()


FROM_PYTHON = """
import sys
from tests.server.stub import stub_model
from pocket_tts_jax.server.models import ModelShelf
from pocket_tts_jax.server.run import serve
from pocket_tts_jax.server.settings import ServerSettings
model = stub_model(0.01)
serve(ServerSettings(port=0), lambda: ModelShelf({"embedded": lambda: model}),
      lambda address: print("Serving embedded at", address, file=sys.stderr, flush=True))
"""
COMMAND = [sys.executable, "-m", "pocket_tts_jax", "serve", "--port", "0", "--temperature", "0.7"]


@contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen, str]]:
    """The process of a server and its address."""
    with signals_reach_children():
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        yield process, process.stderr.readline().strip().removeprefix("Serving embedded at ")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", [[sys.executable, "-W", "ignore", "-c", FROM_PYTHON], COMMAND])
def test_a_signal_lets_streams_finish(command: list[str], number: int):
    """The process ends with code 0, from Python and as the command."""
    body = {"input": 3 * TEXT, "response_format": "pcm"}
    with started(command) as (process, address):
        with httpx.stream(
            "POST", f"{address}/v1/audio/speech", json=body, timeout=PATIENCE
        ) as answer:
            parts = answer.iter_raw()
            next(parts)
            process.send_signal(number)
            assert sum(map(len, parts)) > 300_000
        assert process.wait(PATIENCE) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_a_second_signal_ends_streams():
    body = {"input": 100 * TEXT, "response_format": "pcm"}
    with started([*COMMAND, "--threads", "1"]) as (process, address):
        with (
            httpx.Client(timeout=PATIENCE) as other,
            pytest.raises(httpx.RemoteProtocolError),
            httpx.stream(
                "POST", f"{address}/v1/audio/speech", json=body, timeout=PATIENCE
            ) as answer,
        ):
            assert other.get(f"{address}/health").status_code == 200
            parts = answer.iter_raw()
            next(parts)
            process.send_signal(signal.SIGTERM)
            # Two signals that a process has not handled yet are one.
            wait_until(lambda: other.get(f"{address}/health").status_code == 503)
            process.send_signal(signal.SIGTERM)
            list(parts)
        assert process.wait(PATIENCE) == 0
