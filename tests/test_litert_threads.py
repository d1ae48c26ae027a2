"""The number of threads that compute holds, whatever the number of calls."""

import threading

from pocket_tts_jax.litert_engine import LiteRTEngine
from pocket_tts_jax.thread_budget import ThreadBudget
from tests.exported import tiny_export


def test_a_budget_is_never_exceeded_and_nobody_starves() -> None:
    budget, lock, used, most, served = ThreadBudget(3), threading.Lock(), [0], [0], []

    def work(wanted: int) -> None:
        for _ in range(30):
            with budget.lend(wanted):
                with lock:
                    used[0] += wanted
                    most[0] = max(most[0], used[0])
                with lock:
                    used[0] -= wanted
        served.append(wanted)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 1, 2, 3, 1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(served) == [1, 1, 1, 2, 3, 3]
    assert 1 < most[0] <= 3


def test_a_failing_call_gives_its_threads_back() -> None:
    budget = ThreadBudget(1)
    try:
        with budget.lend(1):
            raise ValueError("in the middle of a call")
    except ValueError:
        pass
    with budget.lend(1):
        pass


def test_both_models_together_take_the_threads_asked_for() -> None:
    for threads in (2, 3, 4):
        engine = LiteRTEngine(tiny_export(), threads=threads)
        names = ("flow_lm.tflite", "mimi_decoder.tflite")
        assert sum(engine._threads_of(name) for name in names) == threads
    assert [LiteRTEngine(tiny_export(), threads=1)._threads_of(n) for n in names] == [1, 1]
