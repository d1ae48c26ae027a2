"""One run at a time, in the order of asking."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pocket_tts_jax.litert_engine.turns import Turns
from tests.patience import PATIENCE


def test_one_at_a_time_in_the_order_of_asking() -> None:
    turns, inside, served = Turns(), [0], []

    def work(number: int) -> None:
        with turns:
            inside[0] += 1
            assert inside[0] == 1
            served.append(number)
            inside[0] -= 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    with turns:
        for waiting, thread in enumerate(threads):
            thread.start()
            while len(turns._waiting) <= waiting:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert served == list(range(8))


def test_two_that_ask_again_and_again_alternate() -> None:
    """Where the other one waits before a turn ends, the next turn is the other's."""
    turns, served, times = Turns(), [], 20

    def work(name: str) -> None:
        for _ in range(times):
            with turns:
                served.append(name)
                while not turns._waiting and len(served) < 2 * times - 1:
                    time.sleep(0.001)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Only the order of the first request is open.
    assert served in (list("ab" * times), list("ba" * times))


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_one_that_stops_waiting_is_not_waited_for() -> None:
    """Ctrl-C ends the wait of a program's main thread; the model's thread must go on."""
    turns, served, main = Turns(), [], threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while not turns._waiting:
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may ignore it
    try:
        with ThreadPoolExecutor(2) as others:
            others.submit(turns.__enter__).result()
            interrupted = others.submit(interrupt)
            with pytest.raises(KeyboardInterrupt), turns:
                served.append("interrupted")
            interrupted.result()
    finally:
        signal.signal(signal.SIGINT, before)
    turns.__exit__()
    other = threading.Thread(target=lambda: turns.__enter__(), daemon=True)
    other.start()
    other.join(PATIENCE)
    assert not other.is_alive() and served == []


def test_a_turn_inside_a_turn_is_the_same() -> None:
    turns, served = Turns(), []

    def other() -> None:
        with turns:
            served.append("other")

    thread = threading.Thread(target=other)
    with turns:
        thread.start()
        while not turns._waiting:
            time.sleep(0.001)
        with turns:
            served.append("inside")
        served.append("after")
    thread.join()
    assert served == ["inside", "after", "other"]


def test_an_error_ends_a_turn() -> None:
    turns = Turns()
    try:
        with turns:
            raise ValueError("in the middle of a run")
    except ValueError:
        pass
    with turns:
        pass
