"""A first come, first served lock."""

import threading
from collections import deque


class Turns:
    """`with turns:` runs alone, first come, first served.

    The models of one engine share it: each run uses all of the engine's threads, and runs in
    parallel would only compete for the processors. A plain lock may serve the same thread again and
    again; with this one two threads alternate. A thread that has the turn keeps it in a `with`
    inside its own.
    """

    def __init__(self) -> None:
        self._owner: int | None = None  # the thread whose turn it is
        self._depth = 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    def __enter__(self) -> None:
        thread, ticket = threading.get_ident(), object()
        if self._owner == thread:
            self._depth += 1
            return
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._owner is not None or self._waiting[0] is not ticket:
                    self._changed.wait()
                self._owner = thread
            finally:  # Ctrl-C may end the wait: the others must not wait for this ticket
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def __exit__(self, *error: object) -> None:
        if self._depth:
            self._depth -= 1
            return
        with self._changed:
            self._owner = None
            self._changed.notify_all()
