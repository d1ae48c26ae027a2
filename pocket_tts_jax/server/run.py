"""The server as a process: it listens, and shuts down in order at SIGTERM."""

import asyncio
import contextlib
import ctypes
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.server.app import create_app
from pocket_tts_jax.server.models import ModelShelf
from pocket_tts_jax.server.service import Service
from pocket_tts_jax.server.settings import ServerSettings

_MORE_CONNECTIONS = 200  # besides those that speak or wait: pages, checks, idle ones
_LARGEST_MESSAGE = 1 << 16  # bytes of a WebSocket message: a piece of text
_M_ARENA_MAX = -8  # malloc.h
_IDLE_SECONDS = 15  # for which a connection may ask nothing


class Stop:
    """Asks a server to shut down: once in order, twice at once. Set it in the server's event
    loop."""

    def __init__(self) -> None:
        self.in_order, self.at_once = asyncio.Event(), asyncio.Event()

    def set(self) -> None:
        (self.at_once if self.in_order.is_set() else self.in_order).set()


@contextlib.contextmanager
def termination_signals(handle: Callable[[], object]) -> Iterator[None]:
    """Call `handle` for each SIGTERM or SIGINT meanwhile. For the main thread only."""
    numbers = signal.SIGTERM, signal.SIGINT
    before = [signal.signal(number, lambda *_: handle()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def serve(
    settings: ServerSettings,
    make_shelf: Callable[[], ModelShelf],
    on_ready: Callable[[str], None] = lambda address: None,
    signals: Callable[[Callable[[], object]], AbstractContextManager[None]] = termination_signals,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Running streams may then finish; a second signal ends them.

    `on_ready` is called with the address. `signals` takes a function, and calls it for each signal
    while its context lasts; the default installs handlers, which works in the main thread only.
    Raises ConfigError if it cannot listen, and the errors of loading the first model and voice.
    """

    async def main() -> None:
        stop, loop = Stop(), asyncio.get_running_loop()
        with signals(partial(loop.call_soon_threadsafe, stop.set)):
            await run_server(settings, make_shelf, stop, on_ready)

    asyncio.run(main())


async def run_server(
    settings: ServerSettings,
    make_shelf: Callable[[], ModelShelf],
    stop: Stop,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """`serve` in a running event loop, until `stop` is set."""
    _share_heaps()
    app = create_app(settings, make_shelf)
    with _listen(settings.host, settings.port) as listener:
        async with app.router.lifespan_context(app):
            server = _Server(_config(app, settings))
            serving = asyncio.create_task(server.serve([listener]))
            on_ready(_address(listener))
            asked = asyncio.create_task(stop.in_order.wait())
            await asyncio.wait((serving, asked), return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            await _drain(app.state.service, stop.at_once)
            server.should_exit, server.force_exit = True, stop.at_once.is_set()
            await serving


async def _drain(service: Service, at_once: asyncio.Event) -> None:
    """Let streams finish while new requests are refused with 503; or end them `at_once`."""
    draining = asyncio.create_task(service.drain())
    hurry = asyncio.create_task(at_once.wait())
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not draining.done():
        draining.cancel()
        await service.stop()


def _config(app: Callable, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="websockets-sansio",
        ws_max_size=_LARGEST_MESSAGE,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=10,
        limit_concurrency=settings.max_streams + settings.max_waiting + _MORE_CONNECTIONS,
    )


class _Server(uvicorn.Server):
    """Leaves signals to `serve`: uvicorn would end the process by the signal, not with code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(H11Protocol):
    """Sends small pieces of audio at once, and closes connections without a request; uvicorn does
    so only after their first request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does so for listeners of its own. The first audio would else come 40 ms later:
        # the system waits with it until the client confirms that it has the headers.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None and self in self.connections:
            self._expect_request()

    def _expect_request(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )


def _share_heaps() -> None:
    """Let all threads allocate from two heaps. glibc gives new threads heaps of their own, of which
    each keeps what its largest stream needed: memory would grow by 0.5 MB a request for long."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library without it
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise ConfigError(
            f"The server cannot listen at {host}:{port} ({error.strerror or error}): choose "
            "another --port, or another --host."
        ) from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
