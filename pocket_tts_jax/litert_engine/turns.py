"""A first come, first served lock."""

import threading
from collections import deque
from queue import SimpleQueue


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
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket] = deque()

    def __enter__(self) -> None:
        thread = threading.get_ident()
        if self._owner == thread:
            self._depth += 1
            return
        ticket = _Ticket(thread)
        with self._lock:
            self._waiting.append(ticket)
            self._serve()
        try:
            ticket.served.get()
        except BaseException:  # Ctrl-C ends the wait: the others must not wait for this ticket
            with self._lock:
                self._leave(ticket)
            raise

    def __exit__(self, *error: object) -> None:
        if self._depth:
            self._depth -= 1
            return
        with self._lock:
            self._owner = None
            self._serve()

    def _serve(self) -> None:
        """Give the turn to the first that waits, if nobody has it."""
        if self._owner is None and self._waiting:
            ticket = self._waiting.popleft()
            self._owner = ticket.thread
            ticket.served.put(None)

    def _leave(self, ticket: "_Ticket") -> None:
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        else:  # it was served while its wait ended
            self._owner = None
            self._serve()


class _Ticket:
    """A thread that waits for what is put into its own queue: one condition would wake all."""

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.served: SimpleQueue[None] = SimpleQueue()
