"""What the container and the systemd unit start, without a container and without systemd."""

import asyncio
import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.folders import ROOT
from tests.patience import PATIENCE, wait_until

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "pocket-tts.service"
INSTALLED = "/opt/pocket-tts/bin/pocket-tts-jax"
KEY = "a key of sixteen"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no /bin/sh there")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def started(command: Sequence[str], home: Path, **environment: str) -> Iterator[None]:
    """The command with the package of this checkout; it must end with code 0 at SIGTERM."""
    here = f"{sys.executable} -m pocket_tts_jax"
    assert any(INSTALLED in word for word in command)
    words = [word.replace(INSTALLED, here) for word in command if word != INSTALLED]
    if command[0] == INSTALLED:
        words = [*shlex.split(here), *words]
    settings = os.environ | {"HOME": str(home), "PYTHONPATH": str(ROOT)} | environment
    with (home / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=home, env=settings, stdout=log, stderr=log)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, (home / "log").read_text()
    finally:
        process.kill()
        process.wait()


def wait_until_healthy(address: str) -> None:
    def healthy() -> bool:
        try:
            return httpx.get(f"{address}/health").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(healthy)


def speak(address: str, **headers: str) -> httpx.Response:
    body = {"input": "Yes.", "response_format": "pcm"}
    return httpx.post(f"{address}/v1/audio/speech", json=body, headers=headers, timeout=PATIENCE)


def test_the_container_speaks(tmp_path: Path):
    """Its entry point with the options of the compose file: a key for HTTP, and Wyoming."""
    wyoming = pytest.importorskip("wyoming.client", reason="needs the package wyoming")
    from wyoming.info import Describe, Info

    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", "")
    entry = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[-1])
    service = yaml.safe_load((DEPLOY / "home-assistant.yaml").read_text())["services"]["pocket-tts"]
    assert service["command"] == ["--wyoming", "0.0.0.0:10200"]
    port, other = free_port(), free_port()
    options = ["--port", str(port), "--wyoming", f"127.0.0.1:{other}"]
    address = f"http://127.0.0.1:{port}"

    async def described() -> Info:
        async with wyoming.AsyncTcpClient("127.0.0.1", other) as client:
            await client.write_event(Describe().event())
            return Info.from_event(await client.read_event())

    with started([*entry, *options], tmp_path, POCKET_TTS_API_KEY=KEY, LANGUAGE=""):
        wait_until_healthy(address)
        assert speak(address).status_code == 401
        answer = speak(address, Authorization=f"Bearer {KEY}")
        assert answer.status_code == 200 and len(answer.content) > 10_000
        assert asyncio.run(described()).tts[0].voices


def test_the_container_wants_a_key():
    command = [sys.executable, "-m", "pocket_tts_jax", "serve", "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "--api-key" in done.stderr


def test_the_unit_speaks(tmp_path: Path):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Environment"] == f"HOME=/var/lib/{service['StateDirectory']}"
    port = free_port()
    with started([*shlex.split(service["ExecStart"]), "--port", str(port)], tmp_path):
        wait_until_healthy(f"http://127.0.0.1:{port}")
        assert speak(f"http://127.0.0.1:{port}").status_code == 200


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path):
    program = tmp_path / "pocket-tts-jax"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(INSTALLED, str(program)))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
