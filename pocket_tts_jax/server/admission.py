"""Limits the requests that speak at once and those that wait; others are told to retry."""

import asyncio
import math
from collections import deque

from pocket_tts_jax.server.problems import Problem


class Admission:
    """`max_streams` places to speak. `max_waiting` more requests may wait, first come, first
    served.

    Belongs to one event loop.
    """

    def __init__(self, max_streams: int, max_waiting: int) -> None:
        self._max_streams, self._max_waiting = max_streams, max_waiting
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0
        self.draining = False
        self._seconds = 2.0  # duration of recent streams

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def enter(self) -> None:
        """Take a place; `leave` gives it back. Raises Problem 429 if too many requests wait."""
        self.check()
        if self.running < self._max_streams and not self._waiting:
            self.running += 1
            return
        if len(self._waiting) >= self._max_waiting:
            raise Problem(
                429,
                f"{self.running} requests are being spoken and {self.waiting} wait: try again "
                "later.",
                code="too_many_requests",
                retry_after=self.retry_after(),
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # it was given at the same moment
            else:
                self._waiting.remove(place)
            raise

    def check(self) -> None:
        """Raise Problem 503 while the server shuts down."""
        if self.draining:
            raise Problem(
                503, "The server is ending: try again later.", code="draining", retry_after=5
            )

    def leave(self, seconds: float | None = None) -> None:
        """Give a place back, after `seconds` of speaking."""
        if seconds is not None:
            self._seconds += 0.2 * (seconds - self._seconds)
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.running -= 1

    def retry_after(self) -> int:
        """Seconds after which a place will probably be free."""
        ahead = (len(self._waiting) + 1) / self._max_streams
        return max(1, min(60, math.ceil(ahead * self._seconds)))
