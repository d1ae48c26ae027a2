"""How many threads compute at any time, whatever number of calls there is."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class ThreadBudget:
    """Lends threads to calls, first come, first served.

    Models of one engine share a budget. Without it, as many threads as all their calls have
    together would take turns on the cores, and each would wait for the others' parts.
    """

    def __init__(self, threads: int) -> None:
        self._free = threads
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def lend(self, threads: int) -> Iterator[None]:
        """Hold `threads` threads during the block."""
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._free < threads:
                    self._changed.wait()
                self._free -= threads
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += threads
                self._changed.notify_all()
