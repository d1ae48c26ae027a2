"""Streams that share steps: each is its single run, whoever its neighbours are."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pocket_tts_jax.generation.engine import Job
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.generation.stream import stream
from pocket_tts_jax.litert_engine import batcher
from pocket_tts_jax.litert_engine.batcher import COST, Batcher, StepTimes, cheapest_rows
from pocket_tts_jax.litert_engine.caches import CachePool
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.runtime import LiteRTModel
from pocket_tts_jax.testing.tiny_model import tiny_voice
from pocket_tts_jax.text.prepare import Prompt
from tests.exported import tiny_export
from tests.patience import PATIENCE

NAMES = {4: "decode_1_c256_b4", 8: "decode_1_c256_b8"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> LiteRTEngine:
    return LiteRTEngine(tiny_export(), threads=1, cache_folder=tmp_path_factory.mktemp("packed"))


def job(index: int, engine: LiteRTEngine, frames: int | None = None) -> Job:
    """Each has its own text, voice, seed, temperature and length."""
    rng = np.random.default_rng(index)
    ids = tuple(int(token) for token in rng.integers(3, 500, 3 + index % 9))
    prompt = Prompt(f"text {index}", ids, 2, frames or 8 + 3 * (index % 5))
    voice = tiny_voice(engine.config, length=4 + index % 6, seed=index)
    sampling = Sampling(seed=index, temperature=0.1 * (index % 4), eos_threshold=1e9)
    return Job(index % 3, prompt, voice, sampling)


def speak(engine: LiteRTEngine, one: Job, delay: float = 0.0) -> np.ndarray:
    time.sleep(delay)
    frames = stream(engine, one.voice, [one.prompt], one.sampling, first_chunk=one.chunk)
    return np.concatenate(list(frames))


def assert_same(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_a_batch_equals_single_runs(engine: LiteRTEngine) -> None:
    assert engine.batches
    jobs = [job(index, engine) for index in range(11)]
    alone = [speak(engine, one) for one in jobs]
    assert_same(engine.speak(jobs), alone)
    assert engine.speak([]) == []


def test_streams_join_and_leave_at_any_frame(engine: LiteRTEngine) -> None:
    jobs = [job(index, engine) for index in range(12)]
    alone = [speak(engine, one) for one in jobs]
    delays = np.random.default_rng(0).uniform(0, 0.2, len(jobs))
    with ThreadPoolExecutor(len(jobs)) as pool:
        together = list(pool.map(lambda one, delay: speak(engine, one, delay), jobs, delays))
    assert_same(together, alone)


def test_steps_are_shared(engine: LiteRTEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two streams at the same time are computed by one call."""
    monkeypatch.setattr(StepTimes, "costs", lambda *_: COST)  # of a tiny model, they could be any
    monkeypatch.setattr(batcher, "PATIENCE", 0.3)  # a busy machine is slow to wake threads
    calls: list[tuple[LiteRTModel, int]] = []
    run = LiteRTModel.run

    def counted(model, index, inputs, outputs):
        calls.append((model, index))
        time.sleep(0.01)  # a step of this model is over before the other thread wakes
        run(model, index, inputs, outputs)

    sessions = [engine.start(j.voice, j.prompt, 1) for j in (job(0, engine), job(1, engine))]
    noise = np.zeros(engine.config.latent_dim, np.float32)
    monkeypatch.setattr(LiteRTModel, "run", counted)

    def steps(session) -> None:
        for _ in range(10):
            session.step(noise)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(steps, sessions))
    models = ((engine.flow_lm.model.open(name), name) for name in NAMES.values())
    batched = {(model, model.signatures[name].index) for model, name in models}
    assert len(calls) < 20 and set(calls) & batched


def test_streams_that_are_ready_before_the_turn_comes_share_the_step(
    engine: LiteRTEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder's call takes longer than a stream needs to come back with its next step."""
    monkeypatch.setattr(StepTimes, "costs", lambda *_: COST)
    sessions = [engine.start(j.voice, j.prompt, 1) for j in (job(n, engine) for n in range(4))]
    noise = np.zeros(engine.config.latent_dim, np.float32)
    calls: list[int] = []
    run = LiteRTModel.run

    def counted(model, index, inputs, outputs):
        calls.append(index)
        run(model, index, inputs, outputs)

    monkeypatch.setattr(LiteRTModel, "run", counted)
    with ThreadPoolExecutor(len(sessions)) as pool:
        with engine._turns:
            steps = [pool.submit(session.step, noise) for session in sessions]
            end = time.monotonic() + 2
            while len(engine.flow_lm.batcher._waiting) < len(steps) and time.monotonic() < end:
                time.sleep(0.001)
        for step in steps:
            step.result()
    assert len(calls) == 1


def test_streams_go_on_when_the_one_that_leads_is_interrupted(
    engine: LiteRTEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the wait of the thread that would compute for the others."""
    leading, lead = threading.Event(), Batcher._lead
    noise = np.zeros(engine.config.latent_dim, np.float32)
    first, second = (engine.start(j.voice, j.prompt, 1) for j in (job(0, engine), job(1, engine)))

    def interrupted(self, request, until):
        monkeypatch.setattr(Batcher, "_lead", lead)
        leading.set()
        while len(self._waiting) < 2:
            time.sleep(0.001)
        raise KeyboardInterrupt

    monkeypatch.setattr(Batcher, "_lead", interrupted)
    with ThreadPoolExecutor(2) as pool:
        stopped = pool.submit(first.step, noise)
        leading.wait()
        assert pool.submit(second.step, noise).result().latent.shape == (engine.config.latent_dim,)
        with pytest.raises(KeyboardInterrupt):
            stopped.result()


def test_a_cache_grows_out_of_its_batch(engine: LiteRTEngine) -> None:
    """Past 256 positions a stream goes on in a larger cache, beside streams that have not."""
    jobs = [job(0, engine, frames=270), job(1, engine, frames=40)]
    alone = [speak(engine, one) for one in jobs]
    assert_same(engine.speak(jobs), alone)


def test_a_damaged_stream_leaves_its_neighbours_alone(engine: LiteRTEngine) -> None:
    good, bad = job(1, engine), job(2, engine)
    alone = speak(engine, good)
    session = engine.start(bad.voice, bad.prompt, 1)
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(speak, engine, good)
        for _ in range(5):
            session.step(np.full(engine.config.latent_dim, np.nan, np.float32))
        assert_same([beside.result()], [alone])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([0], 0),
        ([5], 0),
        ([0, 1], 4),
        ([0, 5], 0),
        ([0, 1, 2, 3], 4),
        ([0, 1, 2, 3, 4], 4),
        ([0, 1, 2, 3, 4, 5], 8),
        (range(8), 8),
    ],
)
def test_the_cheapest_way_is_taken(rows: Sequence[int], expected: int) -> None:
    assert cheapest_rows(rows, COST) == expected
    assert cheapest_rows(rows, {}) == 0


def test_costs_are_those_of_this_machine() -> None:
    """Where a batch of four takes three times a single step, two streams are quicker alone."""
    times = StepTimes()
    assert times.costs("alone", NAMES) == COST
    for seconds in (9.0, 2.0, 5.0):  # the least counts
        times.add("alone", seconds)
        assert times.costs("alone", NAMES) == COST
        times.add(NAMES[4], 3 * seconds)
    assert times.costs("alone", NAMES) == {4: pytest.approx(3.3), 8: COST[8]}
    assert cheapest_rows([0, 1], times.costs("alone", NAMES)) == 0


def test_a_batch_that_was_slow_once_is_tried_again() -> None:
    times = StepTimes()

    def batched(seconds: float) -> bool:
        """Whether the next step of four streams is a batch, which takes this long."""
        chosen = cheapest_rows(range(4), times.costs("alone", {4: "four"})) == 4
        times.add("four" if chosen else "alone", seconds if chosen else 1.0)
        return chosen

    for _ in range(3):
        times.add("alone", 1.0)
    assert 3 <= sum(batched(9.0) for _ in range(1000)) <= 20  # while the machine is busy
    assert sum(batched(2.0) for _ in range(1000)) > 700


def test_a_cache_may_come_back_while_another_is_taken(engine: LiteRTEngine) -> None:
    """The garbage collector gives it back, in any thread and at any place."""
    pool = CachePool(engine.config, (256,), 4)
    first, taken = pool.take(8), []

    class Collected(set):
        def __contains__(self, cache: object) -> bool:
            pool.give(first)
            return super().__contains__(cache)

    pool._used = Collected(pool._used)
    thread = threading.Thread(target=lambda: taken.append(pool.take(8)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert taken == [first]
