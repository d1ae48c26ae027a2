"""Web and Hub sources, and what happens when the network or the disk fails."""

import errno
import io
import json
import os
import socket
import subprocess
import sys
import threading
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request

import pytest

import pocket_tts_jax.files.atomic as atomic
from pocket_tts_jax.errors import DownloadError
from pocket_tts_jax.files import hub
from pocket_tts_jax.files.download import _SafeRedirects, download
from pocket_tts_jax.files.hub import GatedError, cached, resolve
from pocket_tts_jax.files.verify import digest_of
from tests.folders import ROOT
from tests.patience import PATIENCE

CONTENT = bytes(range(256)) * 1024
PAGE = b"\n<!DOCTYPE html><title>Log in</title>"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    """Good, truncated, refused, missing, broken and slow files, and a small part of the Hub."""

    requests: list[str] = []
    etag = "of-this-content"

    def do_GET(self):
        self.requests.append(f"{self.command} {self.path}")
        name = self.path.partition("?")[0].rpartition("/")[2]
        if name == "no-web":
            self.wfile.write(b"220 This is a mail server\r\n")
            return
        status = {"gated": 401, "forbidden": 403, "missing": 404, "broken": 503}.get(name, 200)
        self.send_response(status)
        if name == "gated":
            self.send_header("X-Error-Code", "GatedRepo")
        if name == "missing":
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{self.etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        content = {"page.bin": PAGE, "page": PAGE, "empty": b""}.get(name, CONTENT)
        if name == "page":
            self.send_header("Content-Type", "text/html; charset=utf-8")
        if name != "unsized":
            self.send_header("Content-Length", str(len(content) if status == 200 else 0))
        self.end_headers()
        if status != 200 or self.command == "HEAD":
            return
        try:
            if name == "slow":
                self.wfile.write(CONTENT[:1000])
                self.server.stop.wait(PATIENCE)  # pyright: ignore[reportAttributeAccessIssue]
            elif name == "truncated":
                self.wfile.write(CONTENT[:-1])
            else:
                self.wfile.write(content)
        except OSError:
            pass  # the client has gone, as some tests want

    do_HEAD = do_GET

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.stop = threading.Event()  # pyright: ignore[reportAttributeAccessIssue]
        Handler.requests.clear()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.stop.set()  # pyright: ignore[reportAttributeAccessIssue]
        server.shutdown()
        thread.join()


@pytest.fixture
def blocked(monkeypatch):
    """No connection can be opened; the addresses that were tried."""
    tried: list[object] = []

    def refuse(self, address):
        tried.append(address)
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tried


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_web_file_is_fetched_once(server, tmp_path):
    notices: list[str] = []
    name = "good.bin"
    url = f"{server}/{name}?x=1"
    path = resolve(url, what="the weights", cache=tmp_path, on_notice=notices.append)
    assert path.read_bytes() == CONTENT and path.name == name
    assert notices == [f"Downloading the weights from {url}"]
    again = resolve(url, what="the weights", cache=tmp_path, on_notice=notices.append)
    assert again == path == cached(url, cache=tmp_path)
    assert len(Handler.requests) == len(notices) == 1
    assert resolve(f"{server}/{name}?x=2", what="it", cache=tmp_path) != path


def test_a_download_needs_no_standard_error(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)  # as `2>&-` leaves it
        download(f"{server}/good.bin", tmp_path / "good.bin")
    assert (tmp_path / "good.bin").read_bytes() == CONTENT


def test_a_damaged_web_file_is_fetched_again(server, tmp_path, caplog):
    url = f"{server}/good.bin"
    path = resolve(url, what="it", cache=tmp_path)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert resolve(url, what="it", cache=tmp_path).read_bytes() == CONTENT
    assert "removed from the cache" in caplog.text and len(Handler.requests) == 2
    path.write_bytes(b"damaged")
    with pytest.raises(DownloadError, match="downloads are switched off"):
        resolve(url, what="it", cache=tmp_path, offline=True)


def test_http_reaches_this_machine_only(blocked, tmp_path, monkeypatch):
    url = "http://host.invalid/w.bin"
    with pytest.raises(DownloadError, match="not encrypted.*POCKET_TTS_JAX_ALLOW_HTTP=1"):
        resolve(url, what="it", cache=tmp_path)
    with pytest.raises(ValueError, match="not encrypted"):
        request, answer = Request("https://a/"), io.BytesIO()
        _SafeRedirects().redirect_request(request, answer, 302, "", HTTPMessage(), url)
    assert not blocked
    monkeypatch.setenv("POCKET_TTS_JAX_ALLOW_HTTP", "1")
    with pytest.raises(DownloadError) as caught:
        resolve(url, what="it", cache=tmp_path)
    assert "encrypted" not in str(caught.value)


def test_cached_web_file_needs_no_network(server, tmp_path, blocked):
    place = hub._web_cache_path(f"{server}/good.bin", tmp_path)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"here")
    assert resolve(f"{server}/good.bin", what="it", cache=tmp_path).read_bytes() == b"here"
    assert not blocked


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truncated", "ended after 262143 of 262144 bytes"),
        ("broken", "Service Unavailable"),
        ("unsized", "does not say how long the file is"),
        ("page", "the answer is a web page"),
        ("page.bin", "not the file: it is a web page"),
        ("weights.safetensors", "not the file: it is shorter than its own header"),
        ("voice.wav", "does not begin like a .wav file"),
        ("empty", "it is empty"),
        ("no-web", "what answers there is no web server: BadStatusLine.*220 This is a mail"),
        ("missing", "There is nothing at http.*check the address of the weights"),
    ],
)
def test_failed_web_download_leaves_nothing(server, tmp_path, name, message):
    with pytest.raises(DownloadError, match=message) as caught:
        resolve(f"{server}/{name}", what="the weights", cache=tmp_path)
    assert not isinstance(caught.value, GatedError)
    assert not files_below(tmp_path)


@pytest.mark.parametrize("name", ["gated", "forbidden"])
def test_refused_web_download(server, tmp_path, name):
    with pytest.raises(GatedError, match="accept the terms.*hf auth login"):
        resolve(f"{server}/repo/resolve/main/{name}", what="the weights", cache=tmp_path)


def test_silent_server_times_out(server, tmp_path):
    with pytest.raises(OSError, match="timed out"):
        download(f"{server}/slow", tmp_path / "file", timeout=0.2)
    assert not files_below(tmp_path)


def test_full_disk_leaves_nothing(server, tmp_path, monkeypatch):
    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(DownloadError, match="disk is full: there is no room for the weights in"):
        resolve(f"{server}/good.bin", what="the weights", cache=tmp_path)
    assert not files_below(tmp_path)


@pytest.mark.parametrize("offline", [True, False])
def test_no_network_says_how_to_get_the_file(tmp_path, blocked, offline):
    message = (
        "The weights: not on this machine, and https://host.invalid/w.bin cannot be fetched"
        ".*give the path of the copy"
    )
    with pytest.raises(DownloadError, match=message):
        resolve("https://host.invalid/w.bin", what="the weights", cache=tmp_path, offline=offline)
    if offline:
        assert not blocked


def test_kill_9_while_downloading(server, tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from pocket_tts_jax.files.download import download\n"
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    place = tmp_path / "folder" / "file"
    command = [sys.executable, "-c", program, f"{server}/slow", str(place)]
    root = ROOT
    with subprocess.Popen(command, cwd=root) as child:
        while not place.parent.is_dir() or not list(place.parent.iterdir()):
            assert child.poll() is None
        child.kill()
    (left,) = place.parent.iterdir()
    assert left.suffix == ".part" and not place.exists()
    os.utime(left, (0, 0))
    download(f"{server}/good.bin", place)
    assert place.read_bytes() == CONTENT
    assert sorted(files_below(tmp_path)) == [place.with_name("SHA256SUMS"), place]


HUB_PROGRAM = """
import json, sys
from pocket_tts_jax.files.hub import resolve
for name in sys.argv[1:]:
    try:
        path = resolve(f"hf://owner/repo/{name}", what="the weights")
        print(json.dumps(["ok", str(path)]))
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


def ask_hub(endpoint: str, home: Path, *names: str, **environment: str) -> list[list[str]]:
    """Results of `resolve` in a process whose Hub is `endpoint`, which is read at import."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HUB_PROGRAM, *names],
        env=os.environ | settings | environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_damaged_hub_file_is_fetched_again(server, tmp_path):
    """The Hub's cache names files by their SHA-256 or Git's SHA-1, which is their ETag."""
    for like in ("0" * 64, "0" * 40):
        (tmp_path / "content").write_bytes(CONTENT)
        Handler.etag = digest_of(tmp_path / "content", like)
        home = tmp_path / f"home{len(like)}"
        ((state, path),) = ask_hub(server, home, f"good.bin@{COMMIT}")
        assert state == "ok" and Path(path).resolve().name == Handler.etag
        Path(path).write_bytes(CONTENT[:-1] + b"x")
        assert ask_hub(server, home, f"good.bin@{COMMIT}") == [["ok", path]]
        assert Path(path).read_bytes() == CONTENT
    Handler.etag = "f" * 64
    ((state, message),) = ask_hub(server, tmp_path / "other", f"good.bin@{COMMIT}")
    assert state == "DownloadError" and "it arrived damaged" in message
    assert not [p for p in files_below(tmp_path / "other") if p.read_bytes() == CONTENT]
    Handler.etag = "of-this-content"


def test_hub_files(server, tmp_path):
    names = (f"dir/good.bin@{COMMIT}", "good.bin", "gated", "forbidden", "missing")
    pinned, branch, gated, forbidden, missing = ask_hub(server, tmp_path, *names)
    assert pinned[0] == branch[0] == "ok"
    assert Path(pinned[1]).read_bytes() == Path(branch[1]).read_bytes() == CONTENT
    assert gated[0] == forbidden[0] == "GatedError"
    assert "Open https://huggingface.co/owner/repo, accept the terms" in gated[1]
    assert missing[0] == "SourceNotFound" and "There is no 'missing'" in missing[1]
    # Once here, neither a server nor a network is needed.
    asked = len(Handler.requests)
    for settings in ({}, {"HF_HUB_OFFLINE": "1"}):
        found = ask_hub("http://127.0.0.1:9", tmp_path, *names[:2], **settings)
        assert found == [pinned, branch]
    assert len(Handler.requests) == asked


def test_unreachable_hub_says_how_to_get_the_file(tmp_path):
    for settings in ({}, {"HF_HUB_OFFLINE": "1"}):
        ((kind, message),) = ask_hub("http://127.0.0.1:9", tmp_path, "w.bin@v1", **settings)
        assert kind == "DownloadError"
        assert "https://huggingface.co/owner/repo/resolve/v1/w.bin cannot be fetched" in message
        assert "`hf download owner/repo w.bin --revision v1`" in message


def test_hub_cache_lookup_is_the_librarys(tmp_path, monkeypatch, blocked):
    from huggingface_hub import constants, try_to_load_from_cache

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--repo"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    folder = repository / "snapshots" / COMMIT / "dir"
    folder.mkdir(parents=True)
    (folder / "w.bin").write_text("x")
    for revision in ("main", COMMIT, "other", "f" * 40):
        theirs = try_to_load_from_cache(
            "owner/repo", "dir/w.bin", cache_dir=tmp_path, revision=revision
        )
        ours = cached(f"hf://owner/repo/dir/w.bin@{revision}")
        assert (None if ours is None else str(ours)) == theirs
    assert cached("hf://owner/repo/dir/w.bin@main") is not None
    assert not blocked


LEAVES = (
    *("audio.read", "audio.sink", "audio.stretch", "audio.write", "files.atomic", "files.fallback"),
    *("files.hub", "files.verify", "generation.noise", "voice.cache", "voice.published"),
    *("voice.recording", "voice.state"),
)


def test_importing_the_leaves_is_light():
    """No model framework, no network client, no decoder until one is needed."""
    imports = ", ".join(f"pocket_tts_jax.{leaf}" for leaf in LEAVES)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {imports}; print(*sys.modules)"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    heavy = {"jax", "flax", "torch", "huggingface_hub.file_download", "urllib.request", "rich"}
    heavy |= {"soundfile", "soxr", "scipy"}
    assert not heavy & set(done.stdout.split())
