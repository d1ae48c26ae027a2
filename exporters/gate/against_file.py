"""Runs an exported file and the JAX functions side by side, every output of every step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from exporters.gate.prompt import Start
from exporters.graph.signature import Signature
from pocket_tts_jax.litert_engine.runtime import LiteRTModel

STEPS = 50


@dataclass
class Difference:
    """Sums over the steps of a chain, of one output."""

    largest: float = 0.0  # largest absolute difference
    scale: float = 0.0  # largest absolute value of the reference
    signal: float = 0.0  # sums of squares
    noise: float = 0.0
    finite: bool = True

    def add(self, reference: np.ndarray, found: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):  # of two infinities
            error = found.astype(np.float64) - reference
        self.finite &= bool(np.isfinite(error).all())
        self.largest = max(self.largest, float(np.abs(error).max(initial=0)))
        self.scale = max(self.scale, float(np.abs(reference).max(initial=0)))
        self.signal += float(np.square(reference, dtype=np.float64).sum())
        self.noise += float(np.square(error).sum())

    @property
    def relative(self) -> float:
        """Largest difference over the largest value; infinite where a number was not finite."""
        return self.largest / max(self.scale, 1e-30) if self.finite else np.inf

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio of the whole chain; −∞ where a number was not finite."""
        if not self.finite:
            return -np.inf
        return 10 * float(np.log10(max(self.signal, 1e-30) / max(self.noise, 1e-30)))


@dataclass
class Chain:
    """What came out of one signature's chain."""

    signature: str
    steps: int = 0
    outputs: dict[str, Difference] = field(default_factory=dict)
    reference: dict[str, list[np.ndarray]] = field(default_factory=dict)
    found: dict[str, list[np.ndarray]] = field(default_factory=dict)


Inputs = Callable[[int], dict[str, np.ndarray]]


def run_chain(
    model: LiteRTModel,
    signature: Signature,
    inputs: Inputs,
    steps: int,
    keep: tuple[str, ...] = (),
    start: Start | None = None,
) -> Chain:
    """Feed both sides the same inputs and each side its own state, for up to `steps` calls.

    `start` is where the chain begins, if not at zeros.

    Caches are filled like an app fills them: rows are written behind each other, until no more
    fit. Outputs named in `keep` are kept whole.
    """
    chain = Chain(signature.name)
    call, function = model.bind(signature.name), signature.compiled
    latent, begin = None, 0
    states = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in signature.inputs}
    if start is not None:
        latent, begin = start.latent, start.found.position
        states |= start.expected.arrays
        for name, array in start.found.arrays.items():
            call.inputs[name][...] = array
    for step, position in zip(range(steps), _positions(signature, begin), strict=False):
        given = inputs(step) | {"position": np.array([position], np.float32)}
        if latent is not None:
            given["latent"] = latent
        for tensor in signature.inputs:
            if tensor.name in given:
                states[tensor.name] = given[tensor.name]
                call.inputs[tensor.name][...] = given[tensor.name]
        arguments = [jnp.asarray(states[tensor.name]) for tensor in signature.inputs]
        results = [np.asarray(result) for result in function(*arguments)]
        call()
        for tensor, result in zip(signature.outputs, results, strict=True):
            found = call.outputs[tensor.name]
            chain.outputs.setdefault(tensor.name, Difference()).add(result, found)
            if tensor.name in keep:
                chain.reference.setdefault(tensor.name, []).append(result)
                chain.found.setdefault(tensor.name, []).append(found.copy())
            _carry(states, call.inputs, tensor.name, int(position), result, found)
        if "next_latent" in chain.outputs:  # both sides go on from what the model said
            latent = results[0]
        chain.steps += 1
    return chain


def _positions(signature: Signature, begin: int) -> Iterator[int]:
    """Positions of successive calls: as far as the caches reach, or the transformer's steps."""
    shapes = {tensor.name: tensor.shape for tensor in signature.inputs}
    rows = {tensor.name: tensor.shape for tensor in signature.outputs}
    if "k_0" in shapes:
        count, slots = rows["k_0_rows"][2], shapes["k_0"][2]
        yield from range(begin, slots - count + 1, count)
        return
    frames = shapes["latents"][1] if "latents" in shapes else rows.get("latents", (1, 1))[1]
    position = 0
    while True:
        yield position
        position += frames * 16


def _carry(
    states: dict[str, np.ndarray],
    inputs: dict[str, np.ndarray],
    name: str,
    position: int,
    result: np.ndarray,
    found: np.ndarray,
) -> None:
    """Put an output where the next call finds it."""
    if name in states:
        states[name] = result
        inputs[name][...] = found
    elif (cache := name.removesuffix("_rows")) in states and cache != name:
        rows = slice(position, position + result.shape[2])
        states[cache] = states[cache].copy()
        states[cache][:, :, rows] = result
        inputs[cache][:, :, rows] = found
