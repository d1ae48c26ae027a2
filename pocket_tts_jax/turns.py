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
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # until `__exit__` of the turn before releases it

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
