"""Child processes that signals reach."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):  # not on Windows
    SIGNALS.append(signal.SIGHUP)


@contextmanager
def signals_reach_children() -> Iterator[None]:
    """For the start of a child. A job in the background may ignore SIGINT, under nohup also SIGHUP,
    and its children with it."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
