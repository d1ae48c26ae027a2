"""The exported functions, run in JAX, against the model they stand for.

Where a number differs in the exported file, this tells whether folding the weights changed it or
the conversion did.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from exporters.gate.against_file import Difference
from exporters.graph.fold import Tensors
from exporters.graph.functions import Heads
from exporters.graph.signature import COMPILE_FAST, Signature
from exporters.graph.signatures import SHORT_CAPACITIES
from pocket_tts_jax.config import Config
from pocket_tts_jax.litert_engine.caches import to_halves
from pocket_tts_jax.model import flow_lm, mimi
from pocket_tts_jax.model.flow_lm import FlowLM
from pocket_tts_jax.model.mimi import Mimi
from pocket_tts_jax.weights.checkpoint import parameter_tree
from pocket_tts_jax.weights.expected import under

# Float sums in another order, through every layer.
RELATIVE = 1e-4
STEPS = 25  # more than the 16 of which Mimi's transformer window is made
Row = tuple[str, str, float]


def check_flow_lm(
    signatures: list[Signature], tensors: Tensors, config: Config, heads: Heads
) -> Iterator[Row]:
    """(signature, output, relative difference) of every FlowLM function."""
    named = {s.name: s for s in signatures}
    params = _params(tensors, "flow_lm.")
    model, rng = FlowLM.of(config, alignment_heads=heads), np.random.default_rng(0)
    yield from _check_embeddings(named, model, params, config, rng)
    prefills = [s for s in signatures if s.name.startswith("prefill")]
    for signature in prefills:
        yield from _check_prefill(signature, model, params, rng)
    for signature in (s for s in signatures if s.name.startswith("decode")):
        yield from _check_decode(signature, model, params, config, rng)


def _check_embeddings(
    named: dict[str, Signature], model: FlowLM, params: Any, config: Config, rng: Any
) -> Iterator[Row]:
    shape = named["embed_text"].inputs[0].shape
    tokens = rng.integers(0, config.flow_lm.lookup_table.n_bins + 1, shape).astype(np.int32)
    latents = rng.standard_normal(named["embed_voice"].inputs[0].shape).astype(np.float32)
    text, voice = (
        _jit(lambda p, x, name=name: model.apply(p, x, method=name))(params, given)
        for name, given in (("embed_text", tokens), ("embed_voice", latents))
    )
    voice = voice[:, -latents.shape[1] :]  # without the embedding that leads it
    for name, given, expected in (("embed_text", tokens, text), ("embed_voice", latents, voice)):
        (found,) = named[name].compiled(jnp.asarray(given))
        # Centred: the model's own mean over the channels is not seen by what reads them.
        centred = expected - jnp.mean(expected, axis=-1, keepdims=True)
        yield name, "embeddings", _relative(centred, found)


def _check_prefill(signature: Signature, model: FlowLM, params: Any, rng: Any) -> Iterator[Row]:
    embeddings, cache = signature.inputs[0].shape, signature.inputs[2].shape
    length, capacity = embeddings[1], cache[2]
    state = flow_lm.init_state(model.config, 1, capacity)
    prefill = _jit(lambda p, s, x, n: model.apply(p, s, x, n, method="prefill"))
    caches = [np.zeros(tensor.shape, np.float32) for tensor in signature.inputs[2:]]
    differences = [Difference() for _ in caches]
    # Twice, if there is room: the second one reads what the first has left, like text a voice.
    for position in range(0, capacity - length + 1, length)[:2]:
        given = rng.standard_normal(embeddings).astype(np.float32)
        given -= given.mean(axis=-1, keepdims=True)
        state = prefill(params, state, given, jnp.array([length]))
        place = jnp.full(1, position, jnp.float32)
        found = signature.compiled(jnp.asarray(given), place, *map(jnp.asarray, caches))
        new = slice(position, position + length)
        expected = [
            to_halves(side[:, :, new]) if i == 0 else side[:, :, new]
            for layer in state.layers
            for i, side in enumerate(map(np.asarray, layer))
        ]
        for cache, difference, a, b in zip(caches, differences, expected, found, strict=True):
            cache[:, :, new] = b
            difference.add(a, np.asarray(b))
    for tensor, difference in zip(signature.outputs, differences, strict=True):
        yield signature.name, tensor.name, difference.relative


def _check_decode(
    signature: Signature, model: FlowLM, params: Any, config: Config, rng: Any
) -> Iterator[Row]:
    steps, capacity = int(signature.name.split("_")[1]), signature.inputs[3].shape[2]
    batch = signature.inputs[0].shape[0]
    state = flow_lm.init_state(model.config, batch, capacity)
    caches = [np.zeros(tensor.shape, np.float32) for tensor in signature.inputs[3:]]
    latent = np.repeat(np.asarray(params["params"]["bos_emb"])[None], batch, axis=0)
    count = STEPS if capacity <= SHORT_CAPACITIES[0] or steps > 1 else 2
    latents, logits, attentions = Difference(), Difference(), Difference()
    advance = _jit(lambda p, s, x, n: model.apply(p, s, x, n, steps, method="step"))
    function = signature.compiled
    for position in range(min(count, capacity)):
        noise = rng.standard_normal(latent.shape).astype(np.float32) * 0.5
        expected, state = advance(params, state, latent, noise)
        found = function(
            *map(jnp.asarray, (latent, noise, np.full(batch, position, np.float32), *caches))
        )
        for cache, row in zip(caches, found[3:], strict=True):
            cache[:, :, position] = row[:, :, 0]
        latents.add(np.asarray(expected.latent), np.asarray(found[0]))
        logits.add(np.asarray(expected.eos_logit), np.asarray(found[1])[:, 0])
        attentions.add(np.asarray(expected.attention), np.asarray(found[2]))
        latent = np.asarray(expected.latent)
    yield signature.name, "next_latent", latents.relative
    yield signature.name, "eos_logit", logits.relative
    yield signature.name, "attention", attentions.relative


def check_decoder(signatures: list[Signature], tensors: Tensors, config: Config) -> Iterator[Row]:
    """(signature, output, relative difference) of every function of Mimi's decoder."""
    params = _params(tensors, "mimi.")
    model, rng = Mimi(config.mimi), np.random.default_rng(0)
    mean, std = tensors["flow_lm.emb_mean"], tensors["flow_lm.emb_std"]
    for signature in signatures:
        state, audio = mimi.init_decoder_state(config.mimi, 1), Difference()
        states: Any = [jnp.zeros(tensor.shape) for tensor in signature.inputs[2:]]
        frames = signature.inputs[0].shape[1]
        advance = _jit(lambda p, s, x: model.apply(p, s, x, method="decode_step"))
        function = signature.compiled
        for call in range(-(-STEPS // frames)):
            latents = rng.standard_normal(signature.inputs[0].shape).astype(np.float32)
            expected, state = advance(params, state, latents * std + mean)
            position = jnp.full(1, call * frames * config.mimi.steps_per_frame, jnp.float32)
            found, *states = function(jnp.asarray(latents), position, *states)
            audio.add(np.asarray(expected), np.asarray(found))
        yield signature.name, "audio", audio.relative


def check_encoder(signatures: list[Signature], tensors: Tensors, config: Config) -> Iterator[Row]:
    """(signature, output, relative difference) of the encoder's function."""
    params = _params(tensors, "mimi.")
    model, rng = Mimi(config.mimi), np.random.default_rng(0)
    for signature in signatures:
        state, latents = mimi.init_encoder_state(config.mimi, 1), Difference()
        states: Any = [jnp.zeros(tensor.shape) for tensor in signature.inputs[2:]]
        shape = signature.inputs[0].shape
        frames = shape[1] // config.mimi.frame_size
        advance = _jit(lambda p, s, x: model.apply(p, s, x, method="encode_step"))
        function = signature.compiled
        for call in range(-(-STEPS // frames)):
            audio = 0.1 * rng.standard_normal(shape).astype(np.float32)
            expected, state = advance(params, state, audio)
            position = jnp.full(1, call * frames * config.mimi.steps_per_frame, jnp.float32)
            found, *states = function(jnp.asarray(audio), position, *states)
            latents.add(np.asarray(expected), np.asarray(found))
        yield signature.name, "latents", latents.relative


_jit = functools.partial(jax.jit, compiler_options=COMPILE_FAST)


def _relative(expected: Any, found: Any) -> float:
    difference = Difference()
    difference.add(np.asarray(expected), np.asarray(found))
    return difference.relative


def _params(tensors: Tensors, prefix: str) -> Any:
    """The model's variables, on the device once and not with each call."""
    return jax.tree.map(jnp.asarray, {"params": parameter_tree(under(tensors, prefix))})
