"""Who may talk to the server: key, names, origins, sizes, and connections that ask nothing."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.server import run
from pocket_tts_jax.server.guard import _host_of, _is_own_name
from pocket_tts_jax.server.settings import ServerSettings
from tests.patience import PATIENCE
from tests.server.running import Running, running
from tests.server.test_websocket import open_socket

KEY = "a-key-of-this-test"
SPEECH = {"input": "Hello."}


@pytest.fixture(scope="module")
def locked() -> Iterator[Running]:
    settings = ServerSettings(
        port=0, api_key=KEY, hosts=("speech.example.org",), origins=("https://chat.example.org",)
    )
    with running(settings) as server:
        yield server


@pytest.fixture(scope="module")
def http(locked: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=locked.address, timeout=PATIENCE) as client:
        yield client


def test_other_machines_need_a_key():
    with pytest.raises(ConfigError, match="--api-key KEY"):
        ServerSettings(host="0.0.0.0")
    with pytest.raises(ConfigError, match="empty"):
        ServerSettings(host="0.0.0.0", api_key="")
    ServerSettings(host="0.0.0.0", api_key=KEY)
    ServerSettings(host="0.0.0.0", insecure=True)
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        ServerSettings(host=host)


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/health", "/docs", "/openapi.json"])
def test_open_to_all(http: httpx.Client, path: str):
    assert http.get(path).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": "Bearer ü".encode("latin-1")},
    ],
)
def test_the_rest_needs_the_key(http: httpx.Client, headers: dict):
    for path in ("/v1/models", "/v1/audio/voices", "/metrics", "/tts", "/v1/audio/speech", "/x"):
        answer = http.get(path, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["detail"]


def test_with_the_key(http: httpx.Client, locked: Running):
    headers = {"Authorization": f"Bearer {KEY}"}
    assert http.get("/v1/models", headers=headers).status_code == 200
    assert http.post("/v1/audio/speech", json=SPEECH, headers=headers).status_code == 200
    assert http.get("/metrics", headers=headers).status_code == 200
    with open_socket(locked, additional_headers=headers) as chat:
        chat.send('{"type": "end"}')


def test_websocket_needs_the_key(locked: Running):
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus):
        open_socket(locked)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("192.168.1.5", 200),
        ("localhost", 200),
        ("pocket-tts:8000", 200),
        ("kitchen.local", 200),
        ("speech.example.org", 200),
        ("SPEECH.example.org.", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8000", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_names_of_the_server(http: httpx.Client, host: str, status: int):
    assert http.get("/health", headers={"Host": host}).status_code == status


def test_host_names():
    assert _host_of("EXAMPLE.org:80") == "example.org"
    assert _is_own_name("tts.home.lan", "tts.home.lan") and not _is_own_name("a.b", "c.d")


def test_pages_of_others(http: httpx.Client):
    headers = {"Authorization": f"Bearer {KEY}"}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        answer = http.post("/v1/audio/speech", json=SPEECH, headers=headers | {"Origin": origin})
        assert answer.status_code == 403 and answer.json()["error"]["code"] == "unknown_origin"
    own = str(http.base_url).rstrip("/")
    for origin in (own, "https://chat.example.org"):
        answer = http.post("/v1/audio/speech", json=SPEECH, headers=headers | {"Origin": origin})
        assert answer.status_code == 200


def test_cors_is_for_chosen_pages(http: httpx.Client, server: Running):
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x"}
    chosen = http.options("/v1/audio/speech", headers=asks | {"Origin": "https://chat.example.org"})
    assert chosen.headers["access-control-allow-origin"] == "https://chat.example.org"
    other = http.options("/v1/audio/speech", headers=asks | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    off = httpx.get(
        f"{server.address}/health", headers={"Origin": "https://chat.example.org"}, timeout=PATIENCE
    )
    assert "access-control-allow-origin" not in off.headers


def test_large_bodies(server: Running):
    with httpx.Client(base_url=server.address, timeout=PATIENCE) as http:
        said = http.post("/v1/audio/speech", content=b"x" * 1_000_001)
        assert said.status_code == 413 and said.json()["error"]["message"]
        pieces = (b"x" * 100_000 for _ in range(11))  # without a length
        sent = http.post(
            "/v1/audio/speech", content=pieces, headers={"Content-Type": "application/json"}
        )
        assert sent.status_code == 413
        form = http.post("/tts", data={"text": "y" * 1_100_000})
        assert form.status_code == 413
        assert http.post("/v1/audio/speech", json=SPEECH).status_code == 200


def exchange(server: Running, data: bytes, seconds: float) -> bytes:
    """What comes back until the server closes the connection, or for `seconds`."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(data)
        connection.settimeout(seconds)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except TimeoutError:
            return answer + b"<open>"
        return answer


def test_connections_that_ask_nothing_are_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "_IDLE_SECONDS", 0.3)
    with running(ServerSettings(port=0, patience=0.3)) as server:
        assert exchange(server, b"", 5) == b""
        assert exchange(server, b"GET /health HT", 5) == b""
        head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        kind = b"Content-Type: application/json\r\n\r\n"
        late = exchange(server, head + kind + b'{"inp', 5)
        assert b" 408 " in late.split(b"\r\n", 1)[0]
        assert b" 400 " in exchange(server, b"\x16\x03\x01garbage\r\n\r\n", 5).split(b"\r\n", 1)[0]
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        began = time.monotonic()
        assert b"healthy" in exchange(server, request, 5) and time.monotonic() - began < 5
