"""A first come, first served lock."""

import threading
from collections import deque


class Turns:
    """`with turns:` runs alone, first come, first served.

    The models of one engine share it: each run uses all of the engine's threads, and runs in
    parallel would only compete for the processors. A plain lock may serve the same thread again and
    again; with this one two threads alternate.
    """

    def __init__(self) -> None:
        self._taken = False
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    def __enter__(self) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._taken or self._waiting[0] is not ticket:
                    self._changed.wait()
                self._taken = True
            finally:  # Ctrl-C may end the wait: the others must not wait for this ticket
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()
