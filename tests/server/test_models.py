"""Several models in one server: loaded when asked for, unloaded when memory is short."""

import asyncio
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from pocket_tts_jax.cli import serve as command
from pocket_tts_jax.cli.app import app
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.server.models import ModelShelf
from pocket_tts_jax.server.problems import Problem
from pocket_tts_jax.server.settings import ServerSettings
from pocket_tts_jax.tts_model import TTSModel
from tests.patience import PATIENCE
from tests.server.running import running
from tests.server.stub import stub_model


class Memory:
    """Models that each take a gigabyte."""

    def __init__(self) -> None:
        self.models: list[TTSModel] = []

    def load(self) -> TTSModel:
        self.models.append(stub_model())
        return self.models[-1]

    def resident(self) -> int:
        return 10**9 * sum(not model.engine.closed for model in self.models)  # type: ignore

    def shelf(self, *names: str, memory: int | None = None) -> ModelShelf:
        loaders = dict.fromkeys(names, self.load)
        return ModelShelf(loaders, memory=memory, resident=self.resident)


def test_loaded_when_asked_for():
    memory = Memory()
    with running(shelf=lambda: memory.shelf("one", "two")) as server:
        with httpx.Client(base_url=server.address, timeout=PATIENCE) as http:
            names = [model["id"] for model in http.get("/v1/models").json()["data"]]
            assert names[:2] == ["one", "two"] and len(memory.models) == 1
            for model in ("two", "two", "one", "tts-1"):
                answer = http.post("/v1/audio/speech", json={"input": "Hi.", "model": model})
                assert answer.status_code == 200
            assert len(memory.models) == 2
            assert "pocket_tts_models_loaded 2.0" in http.get("/metrics").text
            assert http.get("/v1/audio/voices", params={"model": "two"}).json()["model"] == "two"
    assert all(model.engine.closed for model in memory.models)  # type: ignore


def test_the_longest_unused_is_unloaded():
    async def run() -> None:
        memory = Memory()
        shelf = memory.shelf("one", "two", "three", memory=2 * 10**9)
        for name in ("one", "two", "one"):
            async with shelf.use(name) as served:
                assert served.name == name
        async with shelf.use("three"):
            assert shelf.loaded == ["one", "three"]
            async with shelf.use("one"):
                with pytest.raises(Problem) as caught:  # both are in use
                    await shelf.take("two")
                assert caught.value.status == 503 and "--max-memory" in caught.value.message
            async with shelf.use("two"):
                assert shelf.loaded == ["three", "two"]

    asyncio.run(run())


def test_two_that_ask_at_once_load_once():
    async def run() -> None:
        memory = Memory()
        shelf = memory.shelf("one")
        served = await asyncio.gather(*(shelf.take(None) for _ in range(4)))
        assert len(memory.models) == 1 and served[0].users == 4

    asyncio.run(run())


def test_names_of_models():
    def names(*given: str, language: str | None = None, config: str | None = None) -> list[str]:
        return list(command._loaders(stub_model, list(given), language, config, None))

    assert names() == ["embedded"]
    assert names("de=models/german", "en=export") == ["de", "en"]
    assert names("models/german") == ["german"]
    assert names("hf://someone/export") == ["export"]
    assert names("b=x", language="english") == ["english", "b"]
    assert names(config="dir/mine.yaml") == ["mine"]
    for wrong in (("=x",), ("a=",), ("a=x", "a=y")):
        with pytest.raises(ConfigError, match="NAME=FOLDER"):
            names(*wrong)
    with pytest.raises(ConfigError, match="--checkpoint"):
        command._loaders(stub_model, [], None, None, "x")


def test_options_that_are_read():
    assert command._aliases(["openai", "a=joe", "openai=joe"]) == {"openai": "joe", "a": "joe"}
    with pytest.raises(ConfigError, match="NAME=VOICE"):
        command._aliases(["a"])
    assert command._wyoming("10200") == ("127.0.0.1", 10200)
    assert command._wyoming("0.0.0.0:1") == ("0.0.0.0", 1)
    with pytest.raises(ConfigError, match="HOST:PORT"):
        command._wyoming("host")
    assert command._bytes("2G") == 2 * 10**9 and command._bytes("1.5mb") == 1_500_000
    with pytest.raises(ConfigError, match="2G"):
        command._bytes("much")


def test_command_line_reaches_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from pocket_tts_jax.server import run

    started: list[tuple] = []
    monkeypatch.setattr(run, "serve", lambda *arguments: started.append(arguments))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"POCKET_TTS_API_KEY": "k"})
    arguments = (
        "serve --host 0.0.0.0 --port 0 --allow-host TTS.example.org --allow-origin https://a "
        "--wyoming 10200 --default-voice joe --alias openai --allow-cloning --max-text 5 "
        "--max-seconds 7 --max-streams 3 --max-waiting 0 --drain-seconds 9 --log-text"
    )
    result = runner.invoke(app, arguments.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert started[0][0] == ServerSettings(
        host="0.0.0.0",
        port=0,
        api_key="k",
        hosts=("tts.example.org",),
        origins=("https://a",),
        voice="joe",
        aliases={"openai": ""},
        allow_cloning=True,
        max_text=5,
        max_seconds=7,
        max_streams=3,
        max_waiting=0,
        wyoming=("127.0.0.1", 10200),
        drain=9,
        log_text=True,
    )


def test_mistakes_are_told_in_a_line():
    result = CliRunner().invoke(app, ["serve", "--host", "0.0.0.0"])
    assert result.exit_code == 1 and "--api-key" in result.stderr


def test_a_port_in_use():
    with running() as server:
        with pytest.raises(ConfigError, match="another --port"):
            with running(ServerSettings(port=server.port)):
                pass


def test_a_wrong_default_voice_ends_the_start():
    from pocket_tts_jax.errors import VoiceError

    with pytest.raises(VoiceError, match="nobody"):
        with running(ServerSettings(port=0, voice="nobody")):
            pass
