"""Steps of several streams in one call: the weights are read once for all of them.

Each stream asks for its next step in its own thread. One of these threads leads: it waits for its
turn among the decoders, and then computes for all streams that are waiting: streams join and leave
at any frame. A stream that is alone runs the one-row step without waiting for anybody.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np

from pocket_tts_jax.generation.engine import Step
from pocket_tts_jax.litert_engine.cache_call import CacheCall
from pocket_tts_jax.litert_engine.caches import CacheBlock, HostCache
from pocket_tts_jax.litert_engine.grouped_model import GroupedModel
from pocket_tts_jax.litert_engine.turns import Turns

# How long a stream that is ready waits for one that has just been served, in seconds. A thread is
# back with its next noise in a fifth of it.
PATIENCE = 0.002
# Time of a batched step over that of a one-row step, until both have been measured. It depends on
# the processor: 1.8 and 3.3 with AVX2, 2.9 and 4.6 with VNNI (`benchmarks.throughput --steps`).
COST = {4: 1.8, 8: 3.3}
_ENOUGH, _RECENT = 3, 8  # calls
# A batch that has not run for so many steps is tried again: its last times may be those of a busy
# moment, or of its first calls, which touch new memory.
_FORGET = 200
# A batch must be quicker by this: one that is not leaves no time of single steps to compare with.
_MARGIN = 1.1


class StepTimes:
    """How long steps have taken lately, by the name of their signature."""

    def __init__(self) -> None:
        self._seconds: dict[str, deque[float]] = {}
        self._last: dict[str, int] = {}  # when each has run, in steps
        self._steps = 0

    def run(self, call: CacheCall) -> None:
        begin = time.perf_counter()
        call()
        self.add(call.name, time.perf_counter() - begin)

    def add(self, name: str, seconds: float) -> None:
        self._seconds.setdefault(name, deque(maxlen=_RECENT)).append(seconds)
        self._steps += 1
        self._last[name] = self._steps

    def costs(self, alone: str, batched: Mapping[int, str]) -> dict[int, float]:
        """The time of a step of each number of rows, in steps of one row."""
        for name in batched.values():
            if self._steps - self._last.get(name, 0) > _FORGET:
                self._seconds.pop(name, None)
        return {rows: self._cost(alone, name, rows) for rows, name in batched.items()}

    def _cost(self, alone: str, name: str, rows: int) -> float:
        single, several = (self._seconds.get(each, ()) for each in (alone, name))
        if min(len(single), len(several)) < _ENOUGH:
            return COST.get(rows, 0.4 * rows)
        # The least: what else the machine does makes a step only longer.
        return _MARGIN * min(several) / min(single)


@dataclass(eq=False)
class StepRequest:
    """The next step of one stream. `text` are the positions of its chunk's tokens."""

    cache: HostCache
    latent: np.ndarray
    noise: np.ndarray
    text: slice
    alone: CacheCall
    batched: dict[int, str]  # {rows: name} of the batched signatures for this cache and head
    step: Step | None = None
    error: BaseException | None = None
    # None is put into it when the step is done, and when its thread leads. Unlike an event, it is
    # made and wakes in C.
    woken: SimpleQueue[None] = field(default_factory=SimpleQueue)

    @property
    def done(self) -> bool:
        return self.step is not None or self.error is not None


class Batcher:
    """Computes the steps of all streams of one model, in turn with others that hold `turns`."""

    def __init__(self, model: GroupedModel, turns: Turns) -> None:
        self.whole_blocks = False  # every step in the largest batch, however many streams there are
        self._model, self._turns = model, turns
        self._changed = threading.Condition()  # whoever leads waits for other streams with it
        self._waiting: list[StepRequest] = []
        self._leader: StepRequest | None = None
        self._served: dict[HostCache, float] = {}  # when the last step of each stream was done
        self._calls: dict[tuple[CacheBlock, str], CacheCall] = {}
        self._times = StepTimes()

    def step(self, request: StepRequest) -> Step:
        """The step, once it was computed by this thread or by another stream's."""
        until = time.monotonic() + PATIENCE
        with self._changed:
            self._waiting.append(request)
            self._served.pop(request.cache, None)
            if self._leader is None:
                self._choose_leader()
            self._changed.notify()
        try:
            request.woken.get()
            if not request.done:
                self._lead(request, until)
        except BaseException:  # Ctrl-C ends the wait: the others must not wait for this stream
            self._withdraw(request)
            raise
        if request.error is not None:
            raise request.error
        assert request.step is not None
        return request.step

    def leave(self, cache: HostCache) -> None:
        """The stream with this cache has ended: nobody waits for it."""
        with self._changed:
            self._served.pop(cache, None)
            self._changed.notify()

    def _choose_leader(self) -> None:
        """The stream that has waited longest computes next."""
        self._leader = next(iter(self._waiting), None)
        if self._leader is not None:
            self._leader.woken.put(None)

    def _withdraw(self, request: StepRequest) -> None:
        with self._changed:
            if request in self._waiting:
                self._waiting.remove(request)
            if self._leader is request:
                self._choose_leader()

    def _lead(self, request: StepRequest, until: float) -> None:
        with self._changed:
            while self._expects_others(until):
                self._changed.wait(PATIENCE / 4)
        self._compute(request)

    def _expects_others(self, until: float) -> bool:
        """Whether a stream that was just served may be back before `until`."""
        now = time.monotonic()
        moments = list(self._served.values())  # `leave` comes from the garbage collector too
        recent = any(now - moment < PATIENCE for moment in moments)
        return recent and now < until

    def _mates(self, request: StepRequest) -> list[StepRequest]:
        """The waiting requests that can be computed with this one, itself among them."""
        with self._changed:
            return [
                other
                for other in self._waiting
                if other.cache.block is request.cache.block and other.batched == request.batched
            ]

    def _compute(self, request: StepRequest) -> None:
        mates = [request]
        try:
            # Decoder calls may come first. Streams that are ready before they end share the step.
            with self._turns:
                mates = self._mates(request)
                self._run(mates)
        except BaseException as error:
            for request in mates:
                if not request.done:
                    request.error = error
        finally:
            with self._changed:
                now = time.monotonic()
                self._waiting = [other for other in self._waiting if not other.done]
                self._served |= {request.cache: now for request in mates}
                for mate in mates:
                    mate.woken.put(None)
                self._choose_leader()

    def _run(self, requests: Sequence[StepRequest]) -> None:
        together = self._rows(requests)
        batch = [r for r in requests if r.cache.row < together]
        if batch:
            self._run_together(batch, together)
        for request in requests:
            if request not in batch:
                self._run_alone(request)

    def _rows(self, requests: Sequence[StepRequest]) -> int:
        """How many rows of a block to compute in one call."""
        alone, batched = requests[0].alone, requests[0].batched
        if self.whole_blocks:
            return max(batched, default=0)
        costs = self._times.costs(alone.name, batched)
        return cheapest_rows([r.cache.row for r in requests], costs)

    def _run_together(self, requests: Sequence[StepRequest], rows: int) -> None:
        block, name = requests[0].cache.block, requests[0].batched[rows]
        if (block, name) not in self._calls:
            arrays = {name: array[:rows] for name, array in block.arrays.items()}
            self._calls[block, name] = CacheCall(self._model, name, arrays, 1)
        call = self._calls[block, name]
        call.inputs["position"][...] = 0  # of rows that are not in use
        for request in requests:
            _fill(call, request, request.cache.row)
        self._times.run(call)
        for request in requests:
            _finish(call, request, request.cache.row)

    def _run_alone(self, request: StepRequest) -> None:
        _fill(request.alone, request, 0)
        self._times.run(request.alone)
        _finish(request.alone, request, 0)


def cheapest_rows(rows: Sequence[int], costs: Mapping[int, float]) -> int:
    """How many rows of a block to compute in one call, given those that are wanted and the costs of
    such calls; what lies beyond is computed row by row, at 1 each. 0 is no batch at all."""
    totals = {0: float(len(rows))}
    for size, cost in costs.items():
        inside = sum(row < size for row in rows)
        if inside > 1:
            totals[size] = cost + len(rows) - inside
    return min(totals, key=lambda size: (totals[size], size))


def _fill(call: CacheCall, request: StepRequest, row: int) -> None:
    call.inputs["latent"][row] = request.latent
    call.inputs["noise"][row] = request.noise
    call.inputs["position"][row] = request.cache.position


def _finish(call: CacheCall, request: StepRequest, row: int) -> None:
    """Keep what the call computed for one stream."""
    outputs = call.outputs
    request.cache.append(call.rows, 1, row)
    request.step = Step(
        outputs["next_latent"][row].copy(),
        float(outputs["eos_logit"][row, 0]),
        outputs["attention"][row, :, request.text].copy(),
    )
