"""How long tests wait for what must happen."""

import time
from collections.abc import Callable

PATIENCE = 300.0
"""Seconds. Only what hangs takes longer: a shared machine may stand still for half a minute."""


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread or process does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "this did not happen"
        time.sleep(0.01)
