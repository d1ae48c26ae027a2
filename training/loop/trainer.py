"""The training loop that the codec, FlowLM and fine-tuning share.

One jitted step over a mesh of devices: tensors replicated, batches split along their first axis
(`jax.sharding`; one device is a mesh of one). Everything random follows from (seed, step): as long
as no data is added, a run that was killed and resumed from its last checkpoint is the run that was
not killed.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from training.errors import Interrupted, TrainingError
from training.loop.checkpoint import read_training, write_training
from training.loop.log import TrainingLog

Tensors = dict[str, Array]
# Newton-Schulz steps for Muon: the best polynomials for three steps by Amsel et al. 2025
# (https://arxiv.org/abs/2505.16932).
POLAR = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
)
# loss(trainable tensors, batch, key) -> (scalar, named terms)
Loss = Callable[[Tensors, Any, Array], tuple[Array, Any]]


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, a plateau, and a linear descent to zero over the last `decay` steps.

    Only the end of the run is fixed by `steps`: a run can be prolonged without having been
    planned, which a cosine does not allow.
    """

    steps: int
    peak: float
    warmup: int = 100
    decay: int = 1000

    def rate(self, step: int) -> float:
        rise = min(1.0, (step + 1) / self.warmup)
        fall = min(1.0, max(0.0, (self.steps - step) / max(1, self.decay)))
        return self.peak * rise * fall


@dataclass(frozen=True)
class Optimisation:
    """Adam; the matrices that `orthogonal` picks by name get Muon's orthogonalised updates instead
    (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/), scaled to the size of Adam's
    (Liu et al. 2025, https://arxiv.org/abs/2502.16982), so that one rate serves both."""

    schedule: Schedule
    orthogonal: Callable[[str], bool] = lambda name: False
    clip: float = 1.0
    b1: float = 0.9
    b2: float = 0.98
    weight_decay: float = 0.01
    ema: float = 0.999


class TrainState(NamedTuple):
    tensors: Tensors
    ema: Tensors
    moments: Any  # of the optimiser
    step: Array


class Trainer:
    """Holds a `TrainState` and advances it. `multiple` is what batch sizes must divide by."""

    def __init__(
        self,
        losses: dict[str, Loss],
        tensors: dict[str, np.ndarray],
        optimisation: Optimisation,
        seed: int = 0,
        devices: int = 1,
    ) -> None:
        found = jax.devices()
        if devices > len(found):
            raise TrainingError(
                f"There are {len(found)} devices ({found[0].platform}), not {devices}. Give "
                "--devices fewer, or set JAX_PLATFORMS=cpu to split the processor."
            )
        self.optimisation, self.seed, self.multiple = optimisation, seed, devices
        mesh = Mesh(np.array(found[:devices]), ("data",))
        self._split = NamedSharding(mesh, PartitionSpec("data"))
        self._whole = NamedSharding(mesh, PartitionSpec())
        self._optimiser = optax.chain(
            optax.clip_by_global_norm(optimisation.clip),
            _directions(optimisation),
            optax.add_decayed_weights(optimisation.weight_decay, mask=_matrices),
        )
        self._steps = {
            name: jax.jit(self._update(loss), donate_argnums=0) for name, loss in losses.items()
        }
        start = {k: jnp.asarray(v) for k, v in tensors.items()}
        self.state = jax.device_put(
            TrainState(start, start, self._optimiser.init(start), jnp.zeros((), jnp.int32)),
            self._whole,
        )
        self.state = jax.tree.map(jnp.copy, self.state)  # donated buffers must not be shared

    @property
    def step(self) -> int:
        return int(self.state.step)

    def advance(self, batch: Any, loss: str) -> Any:
        """One step of the named loss; returns its terms (still on the device)."""
        rate = self.optimisation.schedule.rate(self.step)
        batch = jax.device_put(batch, self._split)
        self.state, terms = self._steps[loss](self.state, batch, rate)
        return terms

    def _update(self, loss: Loss) -> Callable:
        o = self.optimisation

        def update(state: TrainState, batch: Any, rate: Array) -> tuple[TrainState, Any]:
            key = jax.random.fold_in(jax.random.key(self.seed), state.step)
            gradient = jax.value_and_grad(loss, has_aux=True)
            (_, terms), gradients = gradient(state.tensors, batch, key)
            updates, moments = self._optimiser.update(gradients, state.moments, state.tensors)
            tensors = jax.tree.map(lambda x, u: x - rate * u, state.tensors, updates)
            keep = jnp.minimum(o.ema, (1 + state.step) / (10 + state.step))
            ema = jax.tree.map(lambda m, x: keep * m + (1 - keep) * x, state.ema, tensors)
            return TrainState(tensors, ema, moments, state.step + 1), terms

        return update

    def save(self, path: Path, note: dict[str, Any]) -> None:
        """Writes the whole state to one file that appears at once. A step with a finite loss can
        still break the tensors: then the older file stays, and an error says so."""
        broken = [n for n, t in self.state.tensors.items() if not np.isfinite(t).all()]
        if broken:
            raise FloatingPointError(
                f"{', '.join(broken[:5])} are not finite at step {self.step}; {path} is left as it "
                "was. Resume from it with a lower learning rate."
            )
        write_training(path, self.state._asdict(), note)

    def resume(self, path: Path) -> dict[str, Any]:
        """Load the state of `path`; returns the note that was saved with it."""
        state, note = read_training(path, self.state._asdict())
        self.state = jax.device_put(TrainState(**state), self._whole)
        return note


def _directions(o: Optimisation) -> optax.GradientTransformation:
    def kinds(tensors: Tensors) -> dict[str, str]:
        chosen = {n for n, t in tensors.items() if t.ndim == 2 and o.orthogonal(n)}
        return {name: "muon" if name in chosen else "adam" for name in tensors}

    def adam_sized(updates: Any, _: Any) -> Any:
        return jax.tree.map(lambda u: u * (0.2 * max(u.shape) ** 0.5), updates)

    def as_matrices(updates: Any) -> Any:
        return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(), updates)

    muon = optax.contrib.scale_by_muon(
        POLAR, ns_steps=len(POLAR), weight_dimension_numbers=as_matrices
    )
    muon = optax.chain(muon, optax.stateless(adam_sized))
    adam = optax.scale_by_adam(b1=o.b1, b2=o.b2)
    return optax.partition({"muon": muon, "adam": adam}, kinds)


def _matrices(tensors: Tensors) -> dict[str, bool]:
    return {name: tensor.ndim > 1 for name, tensor in tensors.items()}


def run(
    trainer: Trainer,
    next_batch: Callable[[int], tuple[str, Any]],
    path: Path,
    log: TrainingLog,
    note: dict[str, Any],
    save_seconds: float = 180.0,
) -> None:
    """Trains until the schedule's end; saves to `path` now and then, and at the end. SIGTERM or
    Ctrl-C ends the run after the current step, saved too: then it raises Interrupted."""
    steps = trainer.optimisation.schedule.steps
    if trainer.step >= steps:
        print(
            f"{path} is at step {trainer.step} already, so there is nothing to train for --steps "
            f"{steps}. Give more --steps to go on, or another --out to start anew.",
            flush=True,
        )
        return
    log.begin(trainer.step, steps)
    saved = time.monotonic()
    with stop_signals() as received:
        while trainer.step < steps and not received:
            step = trainer.step
            loss, batch = next_batch(step)
            terms = trainer.advance(batch, loss)
            log.add(step, trainer.optimisation.schedule.rate(step), terms._asdict())
            if time.monotonic() - saved > save_seconds:
                log.flush()  # raises where the run has diverged: the good checkpoint stays
                trainer.save(path, note)
                saved = time.monotonic()
        log.flush()
        trainer.save(path, note)
    print(f"saved at {trainer.step} of {steps}: {path}", flush=True)
    if trainer.step < steps:
        print("the same command goes on from there", flush=True)
        raise Interrupted(received[0])


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list to which SIGTERM and Ctrl-C add their numbers. A second Ctrl-C interrupts at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread can handle signals
        return

    def ask(number: int, _: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Not print: its buffer may be in use where the signal arrives.
        os.write(2, b"stopping after this step; Ctrl-C again stops at once, unsaved\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
