"""Speaks rows in processes on this machine.

Each process has a model of its own, of which the packed weights are mapped from one file and so in
memory once. A process that ends takes no row with it: another one begins, and speaks them again.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait

from pocket_tts_jax.bulk.rows import Row
from pocket_tts_jax.bulk.speaker import Failed, MakeSpeaker, Result
from pocket_tts_jax.errors import GenerationError

_log = logging.getLogger(__name__)
_SPAWN = multiprocessing.get_context("spawn")  # LiteRT's threads do not survive a fork
MOST_DEATHS = 3  # of processes that had a row, before the row is given up


def speak_in_processes(
    rows: Sequence[Row], make: MakeSpeaker, workers: int
) -> Generator[list[Result], None, None]:
    """The results of all rows, as they come. Closing the generator ends the processes.

    Raises GenerationError if a process cannot load its model.
    """
    crew = _Crew(rows, make, min(workers, len(rows)))
    try:
        while crew.busy:
            yield crew.results()
    finally:
        crew.end()


class _Worker:
    """A process, and the rows that it has been given."""

    def __init__(self, make: MakeSpeaker) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self.rows: dict[str, Row] = {}
        self.room = 0  # for how many rows; 0 until it is ready
        self.process = _SPAWN.Process(target=_work, args=(make, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that only the process has it: its end is seen here

    def give(self, row: Row) -> None:
        self.rows[row.id] = row
        self.connection.send(row)

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


class _Crew:
    def __init__(self, rows: Sequence[Row], make: MakeSpeaker, workers: int) -> None:
        self._waiting = deque(rows)
        self._make = make
        self._deaths: Counter[str] = Counter()
        self._workers = [_Worker(make) for _ in range(workers)]

    @property
    def busy(self) -> bool:
        return bool(self._waiting) or any(worker.rows for worker in self._workers)

    def results(self) -> list[Result]:
        """What has been spoken since the last call; waits for something to happen."""
        found: list[Result] = []
        ready = wait([worker.connection for worker in self._workers])
        for worker in [worker for worker in self._workers if worker.connection in ready]:
            try:
                self._hear(worker, worker.connection.recv(), found)
                self._fill(worker)
            except (EOFError, OSError):
                found += self._replace(worker)
        return found

    def end(self) -> None:
        for worker in self._workers:
            worker.end()

    def _hear(self, worker: _Worker, message: object, found: list[Result]) -> None:
        if isinstance(message, BaseException):
            raise message
        if isinstance(message, int):
            worker.room = 2 * message  # the next row is there when one is done
        else:
            assert isinstance(message, Result)
            del worker.rows[message.row.id]
            found.append(message)

    def _fill(self, worker: _Worker) -> None:
        while self._waiting and len(worker.rows) < worker.room:
            worker.give(self._waiting.popleft())

    def _replace(self, worker: _Worker) -> list[Result]:
        """Begin another process instead of one that ended; rows that are given up."""
        worker.end()
        code = worker.process.exitcode
        if not worker.room:
            raise GenerationError(
                f"A process ended with code {code} while it loaded the model: use fewer --workers "
                "if memory is short."
            )
        _log.warning("A process ended with code %s; its %d rows", code, len(worker.rows))
        failed: list[Result] = []
        for row in reversed(worker.rows.values()):
            self._deaths[row.id] += 1
            if self._deaths[row.id] < MOST_DEATHS:
                self._waiting.appendleft(row)
            else:
                failed.append(
                    Failed(row, f"{MOST_DEATHS} processes ended while they had it (code {code})")
                )
        self._workers.remove(worker)
        if self._waiting:
            self._workers.append(_Worker(self._make))
        return failed


def _work(make: MakeSpeaker, connection: Connection) -> None:
    """What a process does: rows come through the connection, results go back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that reads the corpus
    logging.getLogger("pocket_tts_jax").setLevel(logging.ERROR)  # warnings are in the manifest
    try:
        speaker = make()
    except Exception as error:
        connection.send(error)
        return
    sending = threading.Lock()

    def send(message: object) -> None:
        with sending:
            connection.send(message)

    def speak(row: Row) -> None:
        send(speaker.speak(row))

    try:
        send(speaker.streams)
        pool = ThreadPoolExecutor(speaker.streams, "pocket-tts row")
        while True:
            pool.submit(speak, connection.recv())
    except (EOFError, OSError):  # the corpus is done, or its process was killed
        os._exit(0)
