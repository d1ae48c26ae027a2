"""A lock that is given in the order in which it was asked for."""

import threading
from collections import deque


class Turns:
    """`with turns:` runs alone, first come, first served.

    The models of one engine share it: each run computes with all of the engine's threads, and
    more of them than processors would only wait for each other. A plain lock may let one thread
    in again and again; here two that alternate do alternate.
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
            finally:  # also where Ctrl-C ends the wait: nobody may wait for one that is gone
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._taken = False
            self._changed.notify_all()
