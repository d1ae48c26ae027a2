"""Compares every output of every signature of a file with the model (FlowLM) or the exported
functions (Mimi).

Caches are filled as in an app, with the rows that the file returned; unused slots hold stale
numbers. Each step gets the latent of the reference, so that both sides have the same inputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from exporters.gate.against_model import (
    FRAMES,
    Outputs,
    batch_of,
    capacity_of,
    flow_steps_of,
    length_of,
    mimi_inputs,
)
from exporters.gate.difference import Difference, median
from exporters.gate.reference import Caches, Model, Read, Reference, Spoken
from exporters.graph.signature import Signature
from pocket_tts_jax.config import Config
from pocket_tts_jax.litert_engine.runtime import Call, LiteRTModel

IN_LAST_SLOT = " in the last slot"


@dataclass(frozen=True)
class FreeRun:
    """Model and file after the same prompt, each fed its own latents, with the same noise; all
    arrays are [rows, steps, …]."""

    latents: tuple[np.ndarray, np.ndarray]  # expected, found
    eos_logits: tuple[np.ndarray, np.ndarray]


@dataclass
class Chain:
    """The outputs of the calls of one signature."""

    signature: str
    outputs: dict[str, Difference] = field(default_factory=dict)
    eos_logits: tuple[list[np.ndarray], list[np.ndarray]] = field(default_factory=lambda: ([], []))
    audio: tuple[np.ndarray, np.ndarray] | None = None  # expected, found
    places: Difference | None = None  # between rows of a batch with the same inputs
    free: FreeRun | None = None

    def add(self, name: str, expected: np.ndarray, found: np.ndarray) -> None:
        self.outputs.setdefault(name, Difference()).add(expected, found)


def run_flow_lm(
    file: LiteRTModel, signatures: Sequence[Signature], model: Model, reference: Reference
) -> Iterator[Chain]:
    """Compare every signature of `flow_lm.tflite`."""
    prompt = _prompt(file, signatures, reference.text)
    for signature in signatures:
        if signature.name == "embed_text":
            yield _run_embed_text(file, signature, model)
        elif signature.name == "embed_voice":
            yield _run_embed_voice(file, signature, model)
        elif signature.name.startswith("prefill"):
            yield _run_prefill(file, signature, reference)
        else:
            yield _run_decode(file, signature, reference, prompt)


def _run_embed_text(file: LiteRTModel, signature: Signature, model: Model) -> Chain:
    """Compare the embeddings of all token ids."""
    chain, call = Chain(signature.name), file.bind(signature.name)
    bins, length = model.config.flow_lm.lookup_table.n_bins + 1, signature.inputs[0].shape[1]
    for begin in range(0, bins, length):
        tokens = np.minimum(np.arange(begin, begin + length, dtype=np.int32), bins - 1)[None]
        call.inputs["tokens"][...] = tokens
        call()
        expected = model.embed_text(tokens)
        centred = expected - expected.mean(axis=-1, keepdims=True)
        chain.add("embeddings", centred, call.outputs["embeddings"])
    return chain


def _run_embed_voice(file: LiteRTModel, signature: Signature, model: Model) -> Chain:
    chain, call = Chain(signature.name), file.bind(signature.name)
    shape = signature.inputs[0].shape
    latents = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    call.inputs["latents"][...] = latents
    call()
    expected = model.embed_voice(latents)[:, -shape[1] :]  # without the start embedding
    centred = expected - expected.mean(axis=-1, keepdims=True)
    chain.add("embeddings", centred, call.outputs["embeddings"])
    return chain


def _run_prefill(file: LiteRTModel, signature: Signature, reference: Reference) -> Chain:
    """Compare prefills from the first slot, after other rows, and up to the last slot."""
    chain, call = Chain(signature.name), file.bind(signature.name)
    slots, length = capacity_of(signature), length_of(signature)
    for read in reference.prefixes:
        end = read.position + len(read.embeddings)
        if end > slots:
            continue
        for begin in {read.position, end - length}:
            _fill(call, read.caches, begin)
            first = begin - read.position
            call.inputs["embeddings"][0] = read.embeddings[first : first + length]
            call.inputs["position"][0] = begin
            call()
            for name, cache in read.caches.items():
                expected = cache[:, :, begin : begin + length]
                chain.add(f"{name}_rows", expected, call.outputs[f"{name}_rows"])
    return chain


def _run_decode(
    file: LiteRTModel, signature: Signature, reference: Reference, prompt: Caches
) -> Chain:
    """Compare the steps of the speech, then those in the last slot."""
    chain, call = Chain(signature.name), file.bind(signature.name)
    speech, slots = reference.speech, capacity_of(signature)
    rows = np.arange(batch_of(signature)) % len(speech.position)
    _fill(call, {name: cache[np.zeros_like(rows)] for name, cache in prompt.items()})
    if len(set(rows)) < len(rows):
        chain.places = Difference()
    for step in range(speech.steps):
        position = (speech.position + step)[rows]
        _compare_step(chain, call, speech, step, rows, position)
        for name in prompt:
            found = call.outputs[f"{name}_rows"]
            for slot, place in enumerate(position):
                call.inputs[name][slot, :, place] = found[slot, :, 0]
    if len(rows) == 1 and signature.name == _first_step(file):
        chain.free = _run_freely(call, speech, prompt)
    end = reference.ends[slots]
    rows = np.zeros_like(rows)
    _fill(call, {name: cache[rows, :, : slots - 1] for name, cache in end.caches.items()})
    _compare_step(chain, call, end, 0, rows, end.position[rows], IN_LAST_SLOT)
    name = f"next_latent{IN_LAST_SLOT}"
    others = [_latent_difference(chain, call, end, draw, rows) for draw in range(1, end.steps)]
    chain.outputs[name] = median([chain.outputs[name], *others])
    return chain


def _latent_difference(
    chain: Chain, call: Call, end: Spoken, draw: int, rows: np.ndarray
) -> Difference:
    """Of one draw in the last slot."""
    _call_step(call, end, draw, rows, end.position[rows])
    expected = end.next_latents[flow_steps_of(chain.signature)][draw, rows]
    return Difference.of(expected, call.outputs["next_latent"])


def _call_step(
    call: Call, spoken: Spoken, step: int, rows: np.ndarray, position: np.ndarray
) -> None:
    call.inputs["latent"][...] = spoken.latents[step, rows]
    call.inputs["noise"][...] = spoken.noise[step, rows]
    call.inputs["position"][...] = position
    call()


def _first_step(file: LiteRTModel) -> str:
    """The step that speech begins with: one row, the smallest caches."""
    steps = [name for name in file.signatures if name.startswith("decode") and "_b" not in name]
    return min(steps, key=lambda name: tuple(int(n.lstrip("c")) for n in name.split("_")[1:]))


def _run_freely(call: Call, speech: Spoken, prompt: Caches) -> FreeRun:
    """Every row of the speech again, from the file's own latents."""
    latents, logits = [], []
    for row, position in enumerate(speech.position):
        _fill(call, prompt)
        latent = speech.latents[0, row]
        for step, noise in enumerate(speech.noise[:, row]):
            call.inputs["latent"][0], call.inputs["noise"][0] = latent, noise
            call.inputs["position"][0] = position + step
            call()
            for name in prompt:
                call.inputs[name][:, :, position + step] = call.outputs[f"{name}_rows"][:, :, 0]
            latent = call.outputs["next_latent"][0].copy()
            latents.append(latent)
            logits.append(float(call.outputs["eos_logit"][0, 0]))
    steps = next(iter(speech.next_latents))
    expected = speech.next_latents[steps].swapaxes(0, 1), speech.eos_logits.swapaxes(0, 1)
    return FreeRun(
        (expected[0], np.reshape(latents, expected[0].shape)),
        (expected[1], np.reshape(logits, expected[1].shape)),
    )


def _compare_step(
    chain: Chain,
    call: Call,
    spoken: Spoken,
    step: int,
    rows: np.ndarray,
    position: np.ndarray,
    where: str = "",
) -> None:
    _call_step(call, spoken, step, rows, position)
    found = call.outputs
    attention = np.zeros_like(found["attention"])
    slots = min(attention.shape[2], spoken.attention.shape[3])
    attention[:, :, :slots] = spoken.attention[step, rows, :, :slots]
    eos_logits = spoken.eos_logits[step, rows, None]
    latents = spoken.next_latents[flow_steps_of(chain.signature)][step, rows]
    chain.add(f"next_latent{where}", latents, found["next_latent"])
    chain.add(f"eos_logit{where}", eos_logits, found["eos_logit"])
    chain.add(f"attention{where}", attention, found["attention"])
    for side, logits in zip(chain.eos_logits, (eos_logits, found["eos_logit"]), strict=True):
        side.append(logits.copy())
    for name, cache in spoken.caches.items():
        expected = cache[rows, :, position][:, :, None]
        chain.add(f"{name}_rows{where}", expected, found[f"{name}_rows"])
    if chain.places is not None:
        for output in found.values():
            chain.places.add(output[[list(rows).index(row) for row in rows]], output)


def _fill(call: Call, caches: Mapping[str, np.ndarray], count: int | None = None) -> None:
    """Caches with the first `count` slots filled; the others are stale, but finite."""
    rng = np.random.default_rng(3)
    for name, cache in caches.items():
        written = cache.shape[2] if count is None else count
        array = call.inputs[name]
        array[:, :, written:] = rng.standard_normal(array.shape[3], np.float32)
        array[:, :, :written] = cache[:, :, :written]


def _prompt(file: LiteRTModel, signatures: Sequence[Signature], text: Read) -> Caches:
    """Caches of one row with the voice and the text; the text through the file's own prefill."""
    prefills = [s for s in signatures if s.name.startswith("prefill")]
    slots, count = min(map(capacity_of, prefills)), len(text.embeddings)
    lengths = {length_of(s): s for s in prefills if capacity_of(s) == slots}
    length = min((n for n in lengths if n >= count), default=max(lengths))
    call, caches = file.bind(lengths[length].name), {}
    for begin in range(0, count, length):
        piece, position = text.embeddings[begin : begin + length], text.position + begin
        _fill(call, caches or text.caches, position)
        call.inputs["embeddings"][0, : len(piece)] = piece
        call.inputs["position"][0] = position
        call()
        caches = {
            name: np.concatenate(
                [
                    call.inputs[name][:, :, :position],
                    call.outputs[f"{name}_rows"][:, :, : len(piece)],
                ],
                axis=2,
            )
            for name in text.caches
        }
    return caches


def run_mimi_file(
    file: LiteRTModel, signature: Signature, outputs: list[Outputs], config: Config
) -> Chain:
    """Compare a signature of one side of Mimi with `outputs`, those of the exported function in
    calls of another size: the whole stream, and the states where calls of both sizes end."""
    chain, call = Chain(signature.name), file.bind(signature.name)
    stream, result = signature.inputs[0].name, signature.outputs[0].name
    given = mimi_inputs(signature, config, FRAMES)[stream]
    size = signature.inputs[0].shape[1]
    calls, ratio = given.shape[1] // size, given.shape[1] // size / len(outputs)
    found = []
    for index in range(calls):
        call.inputs[stream][...] = given[:, index * size : (index + 1) * size]
        call.inputs["position"][0] = index * FRAMES // calls * config.mimi.steps_per_frame
        call()
        found.append(call.outputs[result].copy())
        done = (index + 1) / ratio
        for name in signature.state_names():
            if done.is_integer():
                chain.add(name, outputs[int(done) - 1][name], call.outputs[name])
            call.inputs[name][...] = call.outputs[name]
    expected = np.concatenate([output[result] for output in outputs], axis=1)
    chain.add(result, expected, np.concatenate(found, axis=1))
    if result == "audio":
        chain.audio = expected, np.concatenate(found, axis=1)
    return chain
