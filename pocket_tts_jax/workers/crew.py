"""The workers of one model, and which stream is spoken where."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pocket_tts_jax.workers.messages import MakeEngine
from pocket_tts_jax.workers.worker import Worker

_log = logging.getLogger(__name__)


class Crew:
    """`workers` processes that speak in place of this one, each with the engine that `make` makes
    there (it is pickled). Thread-safe.

    A worker that ends takes its streams with it, which raise GenerationError; another one begins at
    the next stream. Raises the error of an engine that cannot be made.
    """

    def __init__(self, make: MakeEngine, workers: int) -> None:
        self._make, self._process = make, os.getpid()
        self._lock = threading.RLock()  # streams that are collected as garbage end anywhere
        self._workers = [Worker(make) for _ in range(workers)]
        try:
            for worker in self._workers:
                worker.wait()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._workers)

    @contextmanager
    def place(self) -> Iterator[Worker | None]:
        """Where to speak a stream, until the context ends: where the fewest are. None is this
        process, while no worker is able."""
        if os.getpid() != self._process:  # a fork, in which the engine says what to do
            yield None
            return
        with self._lock:
            self._replace_ended()
            able = (worker for worker in self._workers if worker.loaded)
            best = min(able, key=lambda worker: worker.streams, default=None)
            if best is not None:
                best.streams += 1
        try:
            yield best
        finally:
            if best is not None:
                with self._lock:
                    best.streams -= 1

    def close(self) -> None:
        """End the workers. No others begin."""
        with self._lock:
            ended, self._workers = self._workers, []
        for worker in ended:
            worker.close()

    def _replace_ended(self) -> None:
        for worker in [worker for worker in self._workers if worker.ended is not None]:
            _log.warning("%s", worker.ended)
            worker.close()
            self._workers.remove(worker)
            if worker.loaded:  # else the next one would not load either
                self._workers.append(Worker(self._make))
