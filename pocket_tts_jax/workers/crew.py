"""The workers of one model: each stream is spoken where the fewest are."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pocket_tts_jax.workers.messages import MakeEngine
from pocket_tts_jax.workers.worker import Worker

_log = logging.getLogger(__name__)


class Crew:
    """`workers` processes beside this one, each with the engine that `make` makes there (it is
    pickled). Thread-safe.

    A worker that ends takes its streams with it, which raise GenerationError; another one begins at
    the next stream. Raises the error of an engine that cannot be made.
    """

    def __init__(self, make: MakeEngine, workers: int) -> None:
        self._make, self._process = make, os.getpid()
        self._lock = threading.Lock()
        self._here = 0  # streams in this process
        self._workers = [Worker(make) for _ in range(workers)]
        try:
            for worker in self._workers:
                worker.wait()
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> int:
        """How many processes speak, this one included."""
        return 1 + len(self._workers)

    @contextmanager
    def place(self) -> Iterator[Worker | None]:
        """Where to speak a stream, until the context ends. None is this process, which comes first
        where others have as many."""
        if os.getpid() != self._process:  # a fork, in which the engine says what to do
            yield None
            return
        with self._lock:
            self._replace_ended()
            able = (worker for worker in self._workers if worker.loaded)
            best = min(able, key=lambda worker: worker.streams, default=None)
            if best is not None and best.streams >= self._here:
                best = None
            self._count(best, 1)
        try:
            yield best
        finally:
            with self._lock:
                self._count(best, -1)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()

    def _count(self, place: Worker | None, streams: int) -> None:
        if place is None:
            self._here += streams
        else:
            place.streams += streams

    def _replace_ended(self) -> None:
        for worker in [worker for worker in self._workers if worker.ended is not None]:
            _log.warning("%s", worker.ended)
            worker.close()
            self._workers.remove(worker)
            if worker.loaded:  # else the next one would not load either
                self._workers.append(Worker(self._make))
