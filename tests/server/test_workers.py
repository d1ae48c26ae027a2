"""A server whose model speaks in two processes."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import psutil
from typer.testing import CliRunner

from pocket_tts_jax.cli.app import app
from pocket_tts_jax.server.models import ModelShelf, _resident_memory
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.workers.worker import Worker
from tests.patience import PATIENCE
from tests.server.running import running


def test_requests_are_divided(monkeypatch) -> None:
    there: list[Worker] = []
    stream = Worker.stream

    def counted(self, *arguments, **options):
        there.append(self)
        return stream(self, *arguments, **options)

    monkeypatch.setattr(Worker, "stream", counted)
    model = TTSModel.load_model(workers=2)
    voice = model.get_state_for_audio_prompt("joe")
    texts = [f"Request number {n} comes with all the others." for n in range(8)]
    samples = [model.generate_audio(voice, text, seed=7).size for text in texts]
    with running(model=model) as server:
        there.clear()  # the server has spoken a word of its own
        with httpx.Client(base_url=server.address, timeout=PATIENCE) as http:

            def ask(text: str) -> httpx.Response:
                body = {"input": text, "voice": "joe", "response_format": "pcm", "seed": 7}
                return http.post("/v1/audio/speech", json=body)

            with ThreadPoolExecutor(len(texts)) as pool:
                answers = list(pool.map(ask, texts))
        server.wait_until_idle()
    assert [(answer.status_code, len(answer.content)) for answer in answers] == [
        (200, 2 * size) for size in samples
    ]
    assert len(there) == 8 and len(set(there)) == 2


def test_workers_end_with_the_server() -> None:
    before = set(psutil.Process().children())
    load = partial(TTSModel.load_model, workers=2)
    with running(shelf=lambda: ModelShelf({"embedded": load})) as server:
        begun = set(psutil.Process().children()) - before
        assert len(begun) == 2
        own = psutil.Process().memory_info().rss
        assert _resident_memory() > own + 2 * 20 * 10**6
        assert httpx.get(f"{server.address}/health", timeout=PATIENCE).status_code == 200
    assert not any(process.is_running() for process in begun)


def test_the_option_reaches_the_model(monkeypatch) -> None:
    from pocket_tts_jax.server import run

    started: list[tuple] = []
    monkeypatch.setattr(run, "serve", lambda *arguments: started.append(arguments))
    loaded: list[dict] = []
    monkeypatch.setattr(TTSModel, "load_model", lambda **options: loaded.append(options))
    result = CliRunner().invoke(app, ["serve", "--workers", "3"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    started[0][1]()._loaders["embedded"]()
    assert loaded[0]["workers"] == 3


def test_no_workers_with_jax() -> None:
    arguments = ["serve", "--workers", "2", "--engine", "jax", "--port", "0"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and "Only the LiteRT engine" in result.stderr
    assert CliRunner().invoke(app, ["serve", "--workers", "-1"]).exit_code == 2
