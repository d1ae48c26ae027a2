"""The process that a model was loaded in: the only one that computes with it, until it ends."""

import atexit
import os
import threading

from pocket_tts_jax.errors import GenerationError


class OwnProcess:
    """`with process:` around whatever computes in C++.

    A fork has none of the threads that compute and would wait for them for ever: it is refused. A
    process that ends waits for the threads that are inside, because Python stops them when they
    come back, which C++ does not survive; no other thread gets in from then on. A daemon thread
    that was inside does not come out either: freeing what it computed with is C++ as well. So
    nothing that C++ frees may be left to the code behind the block.
    """

    def __init__(self) -> None:
        self._number = os.getpid()
        self._changed = threading.Condition()
        self._inside, self._ended = 0, False
        # After what the libraries do at the end was registered, and so before it.
        atexit.register(self._end)

    def __enter__(self) -> None:
        if os.getpid() != self._number:
            raise GenerationError(
                "This process was forked after the model was loaded, without the threads that "
                "compute. Load the model in each process, or start processes with "
                "multiprocessing's method 'spawn'."
            )
        with self._changed:
            if self._ended:
                raise GenerationError("This process is ending; nothing is computed any more.")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()
            ended = self._ended
        if ended:
            hold_daemon_thread()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: self._inside == 0)


def hold_daemon_thread() -> None:
    """Does not return in a daemon thread. For one that would free what C++ made while the process
    ends: Python stops it where it next waits for the interpreter, and the process aborts."""
    if threading.current_thread().daemon:
        threading.Event().wait()
