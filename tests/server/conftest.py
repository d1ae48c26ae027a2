"""One server with a stub engine for all tests that change nothing about it."""

from collections.abc import Iterator

import pytest

from pocket_tts_jax.server.settings import ServerSettings
from tests.server.running import Running, running


@pytest.fixture(scope="package")
def server() -> Iterator[Running]:
    settings = ServerSettings(port=0, aliases={"narrator": "joe"}, max_text=5000)
    with running(settings) as server:
        yield server
