"""The exported functions, run in JAX, against the model they stand for.

Where a number differs in the exported file, this tells whether folding the weights changed it or
the conversion did.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from exporters.gate.difference import Difference
from exporters.gate.reference import Model, Read, Reference, Spoken, compiled
from exporters.graph.fold import Tensors
from exporters.graph.signature import Signature
from pocket_tts_jax.config import Config
from pocket_tts_jax.model import mimi
from pocket_tts_jax.model.mimi import Mimi
from pocket_tts_jax.weights.checkpoint import parameter_tree
from pocket_tts_jax.weights.expected import under

# The order of float sums differs, in every layer.
RELATIVE = 1e-4
FRAMES = 48  # for Mimi: three times the window of its transformer
Row = tuple[str, str, float]
Outputs = dict[str, np.ndarray]


def check_flow_lm(
    signatures: Sequence[Signature], model: Model, reference: Reference
) -> Iterator[Row]:
    """(signature, output, relative difference) of every kind of FlowLM function, over the smallest
    caches that it exists for."""
    named = {s.name: s for s in signatures}
    yield from _check_embeddings(named, model)
    prefills = [s for s in signatures if s.name.startswith("prefill")]
    slots = min(capacity_of(s) for s in prefills)
    prefill = max((s for s in prefills if capacity_of(s) == slots), key=length_of)
    # The second one reads filled caches, as a text after a voice does.
    prefix, length = reference.prefixes[0], length_of(prefill)
    for begin in (0, len(prefix.embeddings) - length):
        yield from _check_prefill(prefill, prefix, begin)
    kinds: dict[tuple[int, int], Signature] = {}
    for signature in signatures:
        if signature.name.startswith("decode"):
            kinds.setdefault((flow_steps_of(signature.name), batch_of(signature)), signature)
    for signature in kinds.values():
        yield from _check_decode(signature, reference.speech)


def capacity_of(signature: Signature) -> int:
    """Slots of the caches of a prefill or step."""
    return next(t.shape[2] for t in signature.inputs if t.name == "k_0")


def length_of(prefill: Signature) -> int:
    """Embeddings of one call."""
    return prefill.inputs[0].shape[1]


def flow_steps_of(decode: str) -> int:
    return int(decode.split("_")[1])


def batch_of(decode: Signature) -> int:
    """Sequences of one call."""
    return decode.inputs[0].shape[0]


def _check_embeddings(named: dict[str, Signature], model: Model) -> Iterator[Row]:
    rng, bins = np.random.default_rng(0), model.config.flow_lm.lookup_table.n_bins
    tokens = rng.integers(0, bins + 1, named["embed_text"].inputs[0].shape).astype(np.int32)
    shape = named["embed_voice"].inputs[0].shape
    latents = rng.standard_normal(shape).astype(np.float32)
    voice = model.embed_voice(latents)[:, -shape[1] :]  # without the start embedding
    text = model.embed_text(tokens)
    for name, given, expected in (("embed_text", tokens, text), ("embed_voice", latents, voice)):
        centred = expected - expected.mean(axis=-1, keepdims=True)
        (found,) = named[name].run(given)
        yield name, "embeddings", Difference.of(centred, np.asarray(found)).relative


def _check_prefill(signature: Signature, prefix: Read, begin: int) -> Iterator[Row]:
    end = begin + length_of(signature)
    caches = [prefix.caches[tensor.name] for tensor in signature.inputs[2:]]
    place = np.array([begin], np.float32)
    outputs = signature.run(prefix.embeddings[None, begin:end], place, *caches)
    for tensor, cache, found in zip(signature.outputs, caches, outputs, strict=True):
        difference = Difference.of(cache[:, :, begin:end], np.asarray(found))
        yield signature.name, f"{tensor.name} behind {begin} slots", difference.relative


def _check_decode(signature: Signature, speech: Spoken) -> Iterator[Row]:
    """The first step and the last; the caches of the last include those of the first."""
    slots, steps = capacity_of(signature), flow_steps_of(signature.name)
    rows = np.arange(batch_of(signature)) % len(speech.position)
    # On the device, once for both steps: eight rows take hundreds of megabytes.
    caches = [jnp.asarray(_wider(speech.caches[t.name][rows], slots)) for t in signature.inputs[3:]]
    found = {tensor.name: Difference() for tensor in signature.outputs[:3]}
    for step in (0, speech.steps - 1):
        position = (speech.position + step).astype(np.float32)[rows]
        given = speech.latents[step, rows], speech.noise[step, rows]
        outputs = [np.asarray(x) for x in signature.run(*given, position, *caches)]
        attention = _wider(speech.attention[step, rows], slots)
        expected = speech.next_latents[steps][step, rows], speech.eos_logits[step, rows, None]
        for name, a, b in zip(found, (*expected, attention), outputs, strict=False):
            found[name].add(a, b)
    for name, difference in found.items():
        yield signature.name, name, difference.relative


def _wider(array: np.ndarray, slots: int) -> np.ndarray:
    """Pad axis 2 with zeros."""
    more = [(0, 0)] * array.ndim
    more[2] = (0, slots - array.shape[2])
    return np.pad(array, more)


def check_decoder(
    signature: Signature, outputs: list[Outputs], tensors: Tensors, config: Config
) -> Iterator[Row]:
    """(signature, output, relative difference) of a function of Mimi's decoder; `outputs` are those
    of its calls."""
    params, model = _params(tensors), Mimi(config.mimi)
    latents = mimi_inputs(signature, config, FRAMES)["latents"]
    raw = latents * tensors["flow_lm.emb_std"] + tensors["flow_lm.emb_mean"]
    advance = compiled(lambda p, s, x: model.apply(p, s, x, method="decode_step"))
    state, audio = mimi.init_decoder_state(config.mimi, 1), []
    for begin in range(0, FRAMES, 8):
        samples, state = advance(params, state, raw[:, begin : begin + 8])
        audio.append(np.asarray(samples))
    found = np.concatenate([o["audio"] for o in outputs], axis=1)
    yield signature.name, "audio", Difference.of(np.concatenate(audio, axis=1), found).relative


def check_encoder(
    signature: Signature, outputs: list[Outputs], tensors: Tensors, config: Config
) -> Iterator[Row]:
    """(signature, output, relative difference) of a function of Mimi's encoder."""
    params, model = _params(tensors), Mimi(config.mimi)
    audio, size = mimi_inputs(signature, config, FRAMES)["audio"], signature.inputs[0].shape[1]
    advance = compiled(lambda p, s, x: model.apply(p, s, x, method="encode_step"))
    state, latents = mimi.init_encoder_state(config.mimi, 1), []
    for begin in range(0, audio.shape[1], size):
        encoded, state = advance(params, state, audio[:, begin : begin + size])
        latents.append(np.asarray(encoded))
    found = np.concatenate([o["latents"] for o in outputs], axis=1)
    yield signature.name, "latents", Difference.of(np.concatenate(latents, axis=1), found).relative


def mimi_inputs(signature: Signature, config: Config, frames: int) -> dict[str, np.ndarray]:
    """Random inputs for either side of Mimi, scaled like real ones."""
    name, rng = signature.inputs[0].name, np.random.default_rng(2)
    if name == "audio":
        shape = (1, frames * config.mimi.frame_size)
        return {name: 0.1 * rng.standard_normal(shape).astype(np.float32)}
    return {name: rng.standard_normal((1, frames, config.latent_dim)).astype(np.float32)}


def run_mimi(signature: Signature, config: Config) -> list[Outputs]:
    """The outputs of each call, including states, for `FRAMES` frames."""
    first, _, *states = signature.inputs
    size, outputs = first.shape[1], []
    given = mimi_inputs(signature, config, FRAMES)[first.name]
    calls = given.shape[1] // size
    carried: list[Any] = [jnp.zeros(tensor.shape) for tensor in states]
    names = [tensor.name for tensor in signature.outputs]
    per_call = FRAMES // calls * config.mimi.steps_per_frame
    for call in range(calls):
        piece, place = given[:, call * size : (call + 1) * size], np.array([call * per_call])
        found = dict(
            zip(names, signature.compiled(piece, place.astype(np.float32), *carried), strict=True)
        )
        carried = [found[tensor.name] for tensor in states]
        outputs.append({name: np.asarray(array) for name, array in found.items()})
    return outputs


def _params(tensors: Tensors) -> Any:
    """Mimi's variables, copied to the device once."""
    return jax.tree.map(jnp.asarray, {"params": parameter_tree(under(tensors, "mimi."))})
