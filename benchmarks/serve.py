"""Load on the server: `python -m benchmarks.serve --json FILE [--reference pocket-tts]`.

Starts `pocket-tts-jax serve`, as it is and with two workers, and, where `--reference` names its
command, `pocket-tts serve` with the same weights and voice, one after the other in each round. So
many clients ask each of them for the same text again and again, over `POST /tts`, which all have.
First audio is the time from the request to the first byte behind the WAV header, the aggregate
real-time factor the seconds of audio that all clients got for each second. MP3 and Opus are asked
from ours over `/v1/audio/speech`.

The last measurement has more clients than places: how many were told to come again (429), and
whether all were served in the end.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import numpy as np

from benchmarks.machine import commit, describe_machine
from benchmarks.texts import TEXT

EMBEDDED = Path(__file__).parents[1] / "pocket_tts_jax" / "embedded"
WAV_HEADER = 44
BYTES_PER_SECOND = 2 * 24000
START_SECONDS = 600


@dataclass
class Load:
    """What a number of clients met. Times in milliseconds."""

    server: str
    clients: int
    requests: int
    format: str
    first_audio: list[float] = field(default_factory=list)
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    failures: int = 0
    told_to_wait: int = 0

    def summary(self) -> dict[str, Any]:
        row = asdict(self)
        times = row.pop("first_audio")
        for percent in (50, 95):
            row[f"first_audio_p{percent}_ms"] = (
                round(float(np.percentile(times, percent)), 1) if times else None
            )
        if self.format == "wav":
            row["real_time_factor"] = round(self.audio_seconds / self.wall_seconds, 2)
        row |= {name: round(row[name], 3) for name in ("audio_seconds", "wall_seconds")}
        return row


def main() -> None:
    options = _parse()
    rows: list[dict[str, Any]] = []

    def measure(server: str, address: str, clients: int, requests: int, format: str) -> None:
        load = asyncio.run(_load(server, address, options.text, clients, requests, format))
        rows.append(load.summary())
        print(json.dumps(rows[-1]), flush=True)

    # A configuration names its files from where it is.
    folder = options.config.resolve().parent
    for _ in range(options.rounds):
        for name, command in _servers(options).items():
            with _running(command, folder if name == "pocket-tts" else None) as address:
                for clients in options.clients:
                    measure(name, address, clients, options.requests, "wav")
                for format in ("mp3", "opus") if name == "ours" else ():
                    measure(name, address, 1, options.requests, format)
    limited = [*_ours(options), "--max-streams", "2", "--max-waiting", "2"]
    with _running(limited) as address:
        measure("ours, 2 places", address, 16, 3, "wav")
    report = {
        "machine": describe_machine(),
        "commit": commit(),
        "text": options.text,
        "rows": rows,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _servers(options: argparse.Namespace) -> dict[str, list[str]]:
    servers = {"ours": _ours(options), "ours, 2 workers": [*_ours(options), "--workers", "2"]}
    if options.reference is not None:
        theirs = [options.reference, "serve", "--config", str(options.config.resolve())]
        servers["pocket-tts"] = [*theirs, "--default-voice", str(options.voice.resolve())]
    return servers


def _ours(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "pocket_tts_jax", "serve"]
    return command if options.model is None else [*command, "--model", str(options.model)]


@contextlib.contextmanager
def _running(command: Sequence[str], folder: Path | None = None) -> Iterator[str]:
    """The address of a server that is ready, and has spoken once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=log, stderr=subprocess.STDOUT, cwd=folder
    )
    try:
        _wait_until_ready(process, address, log)
        httpx.post(f"{address}/tts", data={"text": TEXT}, timeout=START_SECONDS)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait_until_ready(process: subprocess.Popen, address: str, log: IO[str]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            log.seek(0)
            raise RuntimeError(f"{process.args} ended with {process.returncode}: {log.read()}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/health").status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args} was not ready within {START_SECONDS} s")


async def _load(
    server: str, address: str, text: str, clients: int, requests: int, format: str = "wav"
) -> Load:
    """So many clients, each with so many requests one after the other."""
    load = Load(server, clients, requests, format)
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as http:
        began = time.perf_counter()
        await asyncio.gather(*(_client(http, text, requests, load) for _ in range(clients)))
        load.wall_seconds = time.perf_counter() - began
    return load


async def _client(http: httpx.AsyncClient, text: str, requests: int, load: Load) -> None:
    for _ in range(requests):
        while (wait := await _ask(http, text, load)) is not None:
            load.told_to_wait += 1
            await asyncio.sleep(wait)


async def _ask(http: httpx.AsyncClient, text: str, load: Load) -> float | None:
    """One request; the seconds to wait where the server is busy."""
    body: dict[str, Any] = {"data": {"text": text}}
    path, skip = "/tts", WAV_HEADER
    if load.format != "wav":
        body = {"json": {"input": text, "response_format": load.format}}
        path, skip = "/v1/audio/speech", 0
    began, size = time.perf_counter(), 0
    try:
        async with http.stream("POST", path, **body) as answer:
            if answer.status_code == 429:
                return float(answer.headers["retry-after"])
            answer.raise_for_status()
            async for data in answer.aiter_raw():
                if size <= skip < size + len(data):
                    load.first_audio.append(1000 * (time.perf_counter() - began))
                size += len(data)
    except httpx.HTTPError:
        load.failures += 1
    if load.format == "wav":
        load.audio_seconds += max(size - WAV_HEADER, 0) / BYTES_PER_SECOND
    return None


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--model", type=Path, help="export that ours runs (default: the embedded voice)")
    add("--reference", help="the command pocket-tts, to compare with")
    add("--config", type=Path, default=EMBEDDED / "config.yaml", help="the model for that")
    add("--voice", type=Path, default=EMBEDDED / "voices" / "joe.safetensors", help="its voice")
    add("--clients", type=int, nargs="+", default=[1, 4, 8, 16])
    add("--requests", type=int, default=30, help="of each client")
    add("--rounds", type=int, default=1, help="how often the servers take turns")
    add("--text", default=TEXT)
    add("--json", type=Path, help="where to write the report")
    return parser.parse_args()


if __name__ == "__main__":
    main()
