"""Steps of several streams in one call: the weights are read once for all of them.

Each stream asks for its next step in its own thread. One of these threads waits for its turn among
the decoders, and then computes for all streams that are waiting: streams join and leave at any
frame. A stream that is alone runs the one-row step without waiting for anybody.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocket_tts_jax.generation.engine import Step
from pocket_tts_jax.litert_engine.caches import CacheBlock, HostCache
from pocket_tts_jax.litert_engine.grouped_model import GroupedModel
from pocket_tts_jax.litert_engine.runtime import Call
from pocket_tts_jax.litert_engine.turns import Turns

# How long a stream that is ready waits for one that has just been served, in seconds. A thread is
# back with its next noise in a fifth of it.
PATIENCE = 0.002
# Time of a batched step over that of a one-row step (`python -m benchmarks.throughput --steps`).
COST = {4: 1.8, 8: 3.3}


@dataclass(eq=False)
class StepRequest:
    """The next step of one stream. `text` are the positions of its chunk's tokens."""

    cache: HostCache
    latent: np.ndarray
    noise: np.ndarray
    text: slice
    alone: Call
    batched: dict[int, str]  # {rows: name} of the batched signatures for this cache and head
    step: Step | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.step is not None or self.error is not None


class Batcher:
    """Computes the steps of all streams of one model, in turn with others that hold `turns`."""

    def __init__(self, model: GroupedModel, turns: Turns) -> None:
        self.whole_blocks = False  # every step in the largest batch, however many streams there are
        self._model, self._turns = model, turns
        self._changed = threading.Condition()
        self._waiting: list[StepRequest] = []
        self._served: dict[HostCache, float] = {}  # when the last step of each stream was done
        self._computing = False
        self._calls: dict[tuple[CacheBlock, str], Call] = {}

    def step(self, request: StepRequest) -> Step:
        """The step, once it was computed by this thread or by another stream's."""
        with self._changed:
            self._waiting.append(request)
            self._served.pop(request.cache, None)
            self._changed.notify_all()
            until = time.monotonic() + PATIENCE
            while not request.done and (self._computing or self._expects_others(until)):
                self._changed.wait(0.05 if self._computing else PATIENCE / 4)
            computes = not request.done
            self._computing = self._computing or computes
        if computes:
            self._compute(request)
        if request.error is not None:
            raise request.error
        assert request.step is not None
        return request.step

    def leave(self, cache: HostCache) -> None:
        """The stream with this cache has ended: nobody waits for it."""
        with self._changed:
            self._served.pop(cache, None)
            self._changed.notify_all()

    def _expects_others(self, until: float) -> bool:
        """Whether a stream that was just served may be back before `until`."""
        now = time.monotonic()
        recent = any(now - moment < PATIENCE for moment in self._served.values())
        return recent and now < until

    def _mates(self, request: StepRequest) -> list[StepRequest]:
        """The waiting requests that can be computed with this one, itself among them."""
        with self._changed:
            mates = [
                other
                for other in self._waiting
                if other.cache.block is request.cache.block and other.batched == request.batched
            ]
            self._waiting = [other for other in self._waiting if other not in mates]
        return mates

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
                self._computing = False
                self._changed.notify_all()

    def _run(self, requests: Sequence[StepRequest]) -> None:
        together = self._rows([r.cache.row for r in requests], requests[0].batched)
        batch = [r for r in requests if r.cache.row < together]
        if batch:
            self._run_together(batch, together)
        for request in requests:
            if request not in batch:
                _run_alone(request)

    def _rows(self, rows: Sequence[int], batched: dict[int, str]) -> int:
        """How many rows of a block to compute in one call."""
        return max(batched, default=0) if self.whole_blocks else cheapest_rows(rows, batched)

    def _run_together(self, requests: Sequence[StepRequest], rows: int) -> None:
        block, name = requests[0].cache.block, requests[0].batched[rows]
        if (block, name) not in self._calls:
            arrays = {name: array[:rows] for name, array in block.arrays.items()}
            self._calls[block, name] = self._model.bind(name, arrays)
        call = self._calls[block, name]
        call.inputs["position"][...] = 0  # of rows that are not in use
        for request in requests:
            _fill(call, request, request.cache.row)
        call()
        for request in requests:
            _finish(call, request, request.cache.row)


def cheapest_rows(rows: Sequence[int], batched: dict[int, str]) -> int:
    """How many rows of a block to compute in one call, given those that are wanted; what lies
    beyond is computed row by row. 0 is no batch at all."""
    costs = {0: float(len(rows))}
    for size in batched:
        inside = sum(row < size for row in rows)
        if inside > 1:
            costs[size] = COST.get(size, 0.4 * size) + len(rows) - inside
    return min(costs, key=lambda size: (costs[size], size))


def _run_alone(request: StepRequest) -> None:
    _fill(request.alone, request, 0)
    request.alone()
    _finish(request.alone, request, 0)


def _fill(call: Call, request: StepRequest, row: int) -> None:
    call.inputs["latent"][row] = request.latent
    call.inputs["noise"][row] = request.noise
    call.inputs["position"][row] = request.cache.position


def _finish(call: Call, request: StepRequest, row: int) -> None:
    """Keep what the call computed for one stream."""
    outputs = call.outputs
    request.cache.append(outputs, 1, row)
    request.step = Step(
        outputs["next_latent"][row].copy(),
        float(outputs["eos_logit"][row, 0]),
        outputs["attention"][row, :, request.text].copy(),
    )
