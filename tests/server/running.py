"""A server of this process on a port of its own, for clients in the tests' thread."""

import asyncio
import faulthandler
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from pocket_tts_jax.server.models import ModelShelf
from pocket_tts_jax.server.run import Stop, run_server
from pocket_tts_jax.server.settings import ServerSettings
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.tts_model import TTSModel
from tests.patience import PATIENCE, wait_until
from tests.server.stub import StubEngine, stub_model


@dataclass
class Running:
    """A server that listens. `address` is its http address."""

    address: str
    model: TTSModel
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    stop: Stop

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    @property
    def engine(self) -> StubEngine:
        return self.model.engine  # type: ignore[return-value]

    def ask_to_stop(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)

    def wait_until_idle(self) -> None:
        """Wait until no stream speaks."""
        url = f"{self.address}/metrics"
        wait_until(
            lambda: "pocket_tts_running 0.0" in httpx.get(url, timeout=PATIENCE).text,
        )

    def steps_of(self, text: str) -> int:
        """How many steps a text takes that nobody interrupts."""
        return sum(len(part.ids) for part in self.model.prompts(text) if isinstance(part, Prompt))


@contextmanager
def running(
    settings: ServerSettings | None = None,
    *,
    delay: float = 0.0,
    model: TTSModel | None = None,
    shelf: Callable[[], ModelShelf] | None = None,
) -> Iterator[Running]:
    """A server with a stub engine whose steps take `delay` seconds, or with `model`."""
    settings = settings or ServerSettings(port=0)
    model = model or stub_model(delay)
    make_shelf = shelf or (lambda: ModelShelf({"embedded": lambda: model}))
    ready: list[Running] = []
    known, failures = threading.Event(), []

    async def main() -> None:
        stop = Stop()

        def on_ready(address: str) -> None:
            loop, thread = asyncio.get_running_loop(), threading.current_thread()
            ready.append(Running(address, model, loop, thread, stop))
            known.set()

        await run_server(settings, make_shelf, stop, on_ready)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)
        known.set()

    thread = threading.Thread(target=run, name="server")
    thread.start()
    if not known.wait(PATIENCE):
        faulthandler.dump_traceback()
        raise TimeoutError("the server did not start; standard error tells what it waits for")
    if failures:
        raise failures[0]
    server = ready[0]
    try:
        yield server
    finally:
        if thread.is_alive():
            server.ask_to_stop()
            server.ask_to_stop()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not end"
        if failures:
            raise failures[0]
