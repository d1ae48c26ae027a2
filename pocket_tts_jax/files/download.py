"""One file over HTTP into its place, whole or not at all.

The standard library's client: huggingface_hub has changed the client it depends on twice, so that
none of them can be counted on.
"""

import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pocket_tts_jax.files.atomic import atomic_file, remove_abandoned

_BLOCK = 1 << 16
_TIMEOUT = 30.0
"""Seconds without an answer or a byte after which a download fails."""


def download(url: str, place: Path, *, timeout: float = _TIMEOUT) -> None:
    """Fetch `url` into `place`, whose folder is made; `place` appears only when it is complete.

    `timeout` is in seconds and counts the silence, not the whole transfer. On a terminal a progress
    bar is shown on stderr. Raises OSError: urllib.error.HTTPError for an answer other than success,
    ConnectionError for a transfer that ended early.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(place.parent)  # the folder is this address's own
    with _open(url, timeout) as response:
        size = response.headers.get("Content-Length")
        size = int(size) if size is not None else None
        received = 0
        with atomic_file(place) as file, _progress(place.name, size) as advance:
            while block := _read(response, received):
                file.write(block)
                received += len(block)
                advance(len(block))
            if size is not None and received != size:
                raise ConnectionError(
                    f"the connection ended after {received} of {size} bytes; nothing was kept"
                )


def _open(url: str, timeout: float) -> http.client.HTTPResponse:
    try:
        return urllib.request.urlopen(url, timeout=timeout)
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
    if sys.stderr is None or not sys.stderr.isatty():  # None: closed before the start
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
