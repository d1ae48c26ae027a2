"""Downloads one file over HTTP atomically, with its checksum beside it.

Uses the standard library's client: huggingface_hub has changed the client it depends on twice, so
no other one is certain to be installed.
"""

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pocket_tts_jax.files.atomic import atomic_file, remove_abandoned
from pocket_tts_jax.files.content import check_content, shows_its_end
from pocket_tts_jax.files.verify import write_sums

ALLOW_HTTP = "POCKET_TTS_JAX_ALLOW_HTTP"
"""The environment variable that, set to 1, allows http:// to other machines."""
_BLOCK = 1 << 16
_TIMEOUT = 30.0
"""Seconds without an answer or a byte after which a download fails."""


def download(url: str, place: Path, *, timeout: float = _TIMEOUT) -> None:
    """Fetch `url` into `place`. Its folder is made; it must be for this address alone.

    `place` appears only when it is complete and its contents match its ending, with `SHA256SUMS`
    beside it. `timeout` is the longest time without data, in seconds. On a terminal a progress bar
    is shown on stderr. Raises OSError (urllib.error.HTTPError for an answer other than success,
    ConnectionError for a transfer that ended early), and ValueError for an answer that is not the
    file.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(place.parent)
    with _open(url, timeout) as response:
        size = _size(response, place.name)
        received, digest = 0, hashlib.sha256()
        with atomic_file(place) as file, _progress(place.name, size) as advance:
            while block := _read(response, received):
                file.write(block)
                digest.update(block)
                received += len(block)
                advance(len(block))
            if size is not None and received != size:
                raise ConnectionError(
                    f"the connection ended after {received} of {size} bytes; nothing was kept"
                )
            _check(response, file, place.name)
            write_sums(place.parent, {place.name: digest.hexdigest()})


def _size(response: http.client.HTTPResponse, name: str) -> int | None:
    """The announced size in bytes; None if the transfer or the file itself marks its end."""
    size = response.headers.get("Content-Length")
    if size is not None:
        return int(size)
    if response.chunked or shows_its_end(name):
        return None
    raise ValueError(
        "the server does not say how long the file is, so that nobody could tell whether it came "
        "whole"
    )


def _check(response: http.client.HTTPResponse, file: BinaryIO, name: str) -> None:
    kind = response.headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml"):
        raise ValueError("the answer is a web page, not the file")
    try:
        check_content(file, name)
    except ValueError as error:
        raise ValueError(f"the answer is not the file: {error}") from error


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses a redirection to an address that would be refused itself."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # noqa: PLR0913
        check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_scheme(url: str) -> None:
    """Raise ValueError for an address whose connection is not secure."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or os.environ.get(ALLOW_HTTP) == "1":
        return
    if parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return
    raise ValueError(
        f"{parts.scheme}:// is not encrypted, so that anybody on the way could change the file: "
        f"use https://, or set {ALLOW_HTTP}=1 to allow it"
    )


def _open(url: str, timeout: float) -> http.client.HTTPResponse:
    check_scheme(url)
    try:
        return urllib.request.build_opener(_SafeRedirects).open(url, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()  # the error holds the answer and its connection
        raise


def _read(response: http.client.HTTPResponse, received: int) -> bytes:
    try:
        return response.read(_BLOCK)
    except http.client.HTTPException as error:
        raise ConnectionError(
            f"the connection ended early, after {received} bytes; nothing was kept"
        ) from error


@contextmanager
def _progress(name: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """A function that advances a progress bar by so many bytes; no bar unless stderr is a tty."""
    quiet = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS") == "1"  # as for files of the Hub
    if quiet or sys.stderr is None or not sys.stderr.isatty():  # None: closed before the start
        yield lambda count: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=size)
        yield lambda count: bar.advance(task, count)
