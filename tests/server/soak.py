"""Mixed traffic for a while: `python -m tests.server.soak --minutes 10 [--model EXPORT]`.

Clients that read to the end, that leave at random moments, that read slowly, that send garbage,
too much, or half a request. Counts what must not be: wrong bytes in answers that were read whole,
server errors, threads and files that stay, and memory that grows with the requests. Exits with 1
where one of them is found. Without `--model` the engine is the tests' stub, so that what is tried
is the server.
"""

import argparse
import collections
import json
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from pocket_tts_jax.server.settings import ServerSettings
from pocket_tts_jax.tts_model import TTSModel
from tests.patience import PATIENCE
from tests.server.running import Running, running
from tests.server.test_websocket import Client, open_socket

TEXTS = ("Yes.", "The train was late again, so we walked home.", "Nobody minded that. " * 12)
FORMATS = ("pcm", "wav", "flac", "opus", "mp3", "aac")
SLOPE_LIMIT = 50_000  # bytes a request
# Bytes that growth in steps may make of a short run: libraries and the allocator take 15 to 40 MB
# in the first six seconds; after a minute 17 kB a request are left.
ALLOCATOR = 60_000_000


@dataclass
class Tally:
    """What was done, and what went wrong."""

    done: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self.lock:
            self.done[what] += 1

    def blame(self, what: str) -> None:
        with self.lock:
            self.wrong.append(what)


class Traffic:
    """Clients of every kind. Answers to the same request must be the same bytes."""

    def __init__(self, server: Running, tally: Tally) -> None:
        self._server, self._tally = server, tally
        self._expected: dict[tuple[str, str], bytes] = {}
        self._url = f"{server.address}/v1/audio/speech"

    def run(self, draw: random.Random) -> None:
        """One client of a random kind."""
        kinds: list[Callable[[random.Random], None]] = [
            *[self.whole] * 4,
            *[self.leaves] * 2,
            self.slow,
            self.garbage,
            self.oversized,
            self.half_open,
            self.talks,
        ]
        kind = draw.choice(kinds)
        try:
            kind(draw)
        except (httpx.TransportError, ConnectionError, TimeoutError) as error:
            self._tally.blame(f"{kind.__name__}: {error!r}")
        self._tally.count(kind.__name__)

    def learn(self) -> None:
        """Ask everything once, alone."""
        for text in TEXTS:
            for format in FORMATS:
                self._expected[text, format] = httpx.post(
                    self._url, json=self._body(text, format), timeout=PATIENCE
                ).content

    def whole(self, draw: random.Random) -> None:
        text, format = draw.choice(TEXTS), draw.choice(FORMATS)
        answer = httpx.post(self._url, json=self._body(text, format), timeout=PATIENCE)
        if answer.status_code == 429:
            self._tally.count("429")
        elif answer.status_code != 200:
            self._tally.blame(f"status {answer.status_code}: {answer.text[:200]}")
        elif _without_serial(answer.content) != _without_serial(self._expected[text, format]):
            self._tally.blame(f"wrong bytes: {format}, {len(answer.content)}")

    def leaves(self, draw: random.Random) -> None:
        with httpx.stream(
            "POST", self._url, json=self._body(TEXTS[2], "pcm"), timeout=PATIENCE
        ) as one:
            for _ in zip(range(draw.randrange(6)), one.iter_raw(), strict=False):
                pass

    def slow(self, draw: random.Random) -> None:
        got = b""
        with httpx.stream(
            "POST", self._url, json=self._body(TEXTS[1], "pcm"), timeout=PATIENCE
        ) as one:
            if one.status_code != 200:
                return
            for part in one.iter_raw(4096):
                got += part
                time.sleep(draw.random() * 0.01)
        if got != self._expected[TEXTS[1], "pcm"]:
            self._tally.blame("wrong bytes for a slow reader")

    def garbage(self, draw: random.Random) -> None:
        data = draw.randbytes(draw.randrange(1, 400))
        head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\n"
        length = f"Content-Length: {len(data)}\r\n\r\n".encode()
        self._raw(data if draw.random() < 0.5 else head + length + data)

    def oversized(self, draw: random.Random) -> None:
        try:
            answer = httpx.post(self._url, content=bytes(2_000_000), timeout=PATIENCE)
        except httpx.TransportError:
            return  # refused before all was sent
        if answer.status_code != 413:
            self._tally.blame(f"oversized: {answer.status_code}")

    def half_open(self, draw: random.Random) -> None:
        self._raw(b"POST /tts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\ntext=")

    def talks(self, draw: random.Random) -> None:
        with open_socket(self._server) as socket_:
            client = Client(socket_)
            client.send("start")
            for word in TEXTS[draw.randrange(3)].split():
                client.send("text", text=f"{word} ")
            if draw.random() < 0.3:
                client.send("clear")
            elif draw.random() < 0.3:
                return
            client.send("end")
            if client.until("done")["type"] == "error":
                event = client.events[-1]["error"]
                if event["code"] != "too_many_requests":
                    self._tally.blame(f"conversation: {event}")

    def _raw(self, data: bytes) -> None:
        with socket.create_connection(
            ("127.0.0.1", self._server.port), timeout=PATIENCE
        ) as connection:
            connection.sendall(data)
            connection.settimeout(0.05)
            try:
                answer = connection.recv(4096)
            except (TimeoutError, ConnectionError):
                return
        if answer.startswith(b"HTTP/1.1 5"):
            self._tally.blame(f"garbage: {answer[:200]!r}")

    def _body(self, text: str, format: str) -> dict[str, object]:
        return {"input": text, "response_format": format, "seed": 1}


def _without_serial(data: bytes) -> bytes:
    """Ogg pages without what differs by chance: the stream's number and the checksums over it."""
    pages = data.split(b"OggS")
    return b"".join(page[:10] + page[14:18] + page[22:] for page in pages)


def soak(seconds: float, clients: int, model: TTSModel | None = None) -> dict[str, object]:
    """Let `clients` clients come and go for `seconds`; returns what was found."""
    tally, memory = Tally(), []
    process = psutil.Process()
    settings = ServerSettings(port=0, max_streams=8, max_waiting=16, patience=5)
    files = process.num_fds()
    with running(settings, model=model) as server:
        traffic = Traffic(server, tally)
        traffic.learn()
        end = time.monotonic() + seconds

        def client(number: int) -> None:
            draw = random.Random(number)
            while time.monotonic() < end:
                traffic.run(draw)

        threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
        for thread in threads:
            thread.start()
        while time.monotonic() < end:
            memory.append((sum(tally.done.values()), process.memory_info().rss))
            time.sleep(min(1.0, seconds / 20))
        for thread in threads:
            thread.join()
    left = [one.name for one in threading.enumerate() if one.name.startswith("pocket-tts")]
    requests, bytes_ = np.array(memory[len(memory) // 4 :]).T
    slope = float(np.polyfit(requests, bytes_, 1)[0])
    grown = slope * float(requests[-1] - requests[0])
    if slope > SLOPE_LIMIT and grown > ALLOCATOR:
        tally.blame(f"memory grows by {slope / 1000:.0f} kB a request")
    if left:
        tally.blame(f"threads that stay: {left}")
    if process.num_fds() > files + 2:
        tally.blame(f"files that stay: {process.num_fds() - files}")
    return {
        "seconds": seconds,
        "requests": sum(tally.done.values()),
        "kinds": dict(tally.done),
        "kB_a_request": round(slope / 1000, 2),
        "memory_mb": round(process.memory_info().rss / 1e6),
        "wrong": tally.wrong,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--model", type=Path, help="an export, instead of the stub")
    options = parser.parse_args()
    model = None if options.model is None else TTSModel.load_model(model=options.model)
    found = soak(60 * options.minutes, options.clients, model)
    print(json.dumps(found, indent=1))
    sys.stdout.flush()
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
