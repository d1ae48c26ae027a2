"""Streaming: whatever the calls a signal arrives in, the result is that of one call."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pocket_tts_jax.model.conv import Conv1d, ConvTranspose1d
from pocket_tts_jax.model.mimi import Mimi, init_decoder_state, init_encoder_state
from pocket_tts_jax.testing.random_checkpoint import random_tensors
from pocket_tts_jax.testing.tiny_model import tiny_config
from pocket_tts_jax.weights.checkpoint import parameter_tree

pytestmark = pytest.mark.usefixtures("strict")

FRAMES = 40  # 640 steps at 200 Hz: beyond the window of 250, and beyond its double
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def pieces(x: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Cut the second axis into runs of `sizes`, which repeat until it is used up."""
    cut, start = [], 0
    for size in itertools.cycle(sizes):
        if start >= x.shape[1]:
            return cut
        cut.append(x[:, start : start + size])
        start += size
    return cut


def streamed(step: Any, state: Any, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, Any]:
    """Call `step(state, x)` on each input; its outputs joined, and the last state."""
    outputs = []
    for x in inputs:
        y, state = step(state, x)
        outputs.append(np.asarray(y))
    return np.concatenate(outputs, axis=1), state


def shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, jnp.asarray(leaf).dtype), tree)


CONVOLUTIONS = {
    "pointwise": Conv1d(3, 4, 1),
    "causal": Conv1d(3, 4, 7),
    "dilated": Conv1d(3, 4, 3, dilation=4),
    "strided": Conv1d(3, 4, 12, stride=6, use_bias=False),
    "wide": Conv1d(40, 64, 3),  # a weight larger than its activations: the other way to multiply
    "transposed": ConvTranspose1d(3, 4, 5),
    "transposed wide": ConvTranspose1d(40, 64, 2),
    "depthwise": ConvTranspose1d(3, 3, 16, use_bias=False, depthwise=True),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str):
    module: Any = CONVOLUTIONS[name]
    unit = module.stride if isinstance(module, Conv1d) else 1
    x, state = random(2, 12 * unit, module.in_channels), module.init_state(2)
    variables = jax.eval_shape(module.init, jax.random.key(0), x, state)
    params = jax.tree.map(lambda leaf: jnp.asarray(random(*leaf.shape, seed=1)), variables)
    step = jax.jit(lambda state, x: module.apply(params, x, state))
    whole, end = step(state, x)
    for sizes in ([1], [2, 1, 5], [8]):
        y, last = streamed(step, state, pieces(x, [size * unit for size in sizes]))
        np.testing.assert_allclose(y, whole, **CLOSE)
        np.testing.assert_allclose(last, end, **CLOSE)
    assert shapes(end) == shapes(state)

    changed = x.copy()
    changed[:, 6 * unit :] += 1  # the future
    y, _ = step(state, changed)
    known = 6 if isinstance(module, Conv1d) else 6 * module.stride
    np.testing.assert_array_equal(y[:, :known], whole[:, :known])
    assert not np.allclose(y[:, known:], whole[:, known:])


@functools.cache
def codec(context: int) -> tuple[Mimi, Any]:
    """A tiny Mimi whose transformers look back `context` steps."""
    config = tiny_config()
    tensors = random_tensors(config, 3)
    sides = {
        side: dataclasses.replace(getattr(config.mimi, side), context=context, num_layers=1)
        for side in ("transformer", "decoder_transformer")
    }
    mimi = Mimi(dataclasses.replace(config.mimi, **sides))
    return mimi, {"params": jax.tree.map(jnp.asarray, parameter_tree(tensors)["mimi"])}


@functools.partial(jax.jit, static_argnums=(0, 1))
def call_mimi(mimi: Mimi, method: str, params: Any, state: Any, x: jax.Array) -> Any:
    return mimi.apply(params, state, x, method=method)


@pytest.mark.parametrize("context", [50, 250])
def test_decoder(context: int):
    mimi, params = codec(context)
    latents, fresh = random(2, FRAMES, 32), init_decoder_state(mimi.config, 2)
    step = functools.partial(call_mimi, mimi, "decode_step", params)
    whole, end = step(fresh, latents)
    assert whole.shape == (2, FRAMES * 1920)
    for sizes in ([1], [8], [1, 2, 4, 8, 8, 1, 1, 2, 4, 1, 8]):
        audio, last = streamed(step, fresh, pieces(latents, sizes))
        np.testing.assert_allclose(audio, whole, **CLOSE)
        jax.tree.map(functools.partial(np.testing.assert_allclose, **CLOSE), last, end)
    assert shapes(end) == shapes(fresh)

    changed = latents.copy()
    changed[:, 30] += 1
    audio, _ = step(fresh, changed)
    np.testing.assert_array_equal(audio[:, : 30 * 1920], whole[:, : 30 * 1920])
    assert not np.allclose(audio[:, 30 * 1920 :], whole[:, 30 * 1920 :])


@pytest.mark.parametrize("context", [50, 250])
def test_decoder_forgets(context: int):
    """What is further back than the window and the convolutions changes nothing."""
    mimi, params = codec(context)
    latents, fresh = random(1, FRAMES, 32), init_decoder_state(mimi.config, 1)
    changed = latents.copy()
    changed[:, 0] += 1
    step = functools.partial(call_mimi, mimi, "decode_step", params)
    (audio, _), (other, _) = step(fresh, latents), step(fresh, changed)
    horizon = (context // 16 + 4) * 1920
    np.testing.assert_allclose(audio[:, horizon:], other[:, horizon:], rtol=0, atol=1e-6)
    reached = (context // 16) * 1920
    assert not np.allclose(audio[:, reached - 1920 : reached], other[:, reached - 1920 : reached])


def test_encoder():
    mimi, params = codec(250)
    audio, fresh = random(1, FRAMES * 1920), init_encoder_state(mimi.config, 1)
    step = functools.partial(call_mimi, mimi, "encode_step", params)
    whole, end = step(fresh, audio)
    assert whole.shape == (1, FRAMES, 32)
    for sizes in ([1920], [1920, 4 * 1920]):
        latents, last = streamed(step, fresh, pieces(audio, sizes))
        np.testing.assert_allclose(latents, whole, **CLOSE)
        jax.tree.map(functools.partial(np.testing.assert_allclose, **CLOSE), last, end)
    assert shapes(end) == shapes(fresh)


def test_encoder_repeats_the_first_sample_only_at_the_start():
    mimi, params = codec(250)
    audio = random(1, 4 * 1920)
    step = functools.partial(call_mimi, mimi, "encode_step", params)
    fresh = init_encoder_state(mimi.config, 1)
    both = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), fresh)
    first, state = step(fresh, audio[:, :1920])
    # One row goes on, the other starts, in the same call.
    mixed = jax.tree.map(lambda a, b: jnp.concatenate([a, b[1:]]), state, both)
    latents, _ = step(mixed, np.concatenate([audio[:, 1920:3840], audio[:, :1920]]))
    np.testing.assert_allclose(latents[1], first[0], **CLOSE)
    whole, _ = step(fresh, audio)
    np.testing.assert_allclose(latents[0], whole[0, 1:2], **CLOSE)


def test_gradient_through_the_decoder():
    mimi, params = codec(50)
    fresh, latents = init_decoder_state(mimi.config, 1), jnp.asarray(random(1, 2, 32))

    @jax.jit
    @jax.grad
    def gradient(params: Any) -> jax.Array:
        audio, _ = mimi.apply(params, fresh, latents, method="decode_step")
        return jnp.sum(jnp.square(audio))

    decoder = gradient(params)["params"]
    for name in ("decoder", "decoder_transformer", "upsample.convtr", "quantizer.output_proj"):
        for path, leaf in jax.tree_util.tree_leaves_with_path(decoder[name]):
            assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, (name, path)
