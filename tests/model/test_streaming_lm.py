"""FlowLM in steps: prefixes in pieces, padding and ragged rows change nothing, and JAX's
transformations work on a step."""

# pyright: reportAttributeAccessIssue=false, reportReturnType=false, reportArgumentType=false
# Flax types the result of `apply` as a union with its variables.

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from pocket_tts_jax.config import Config
from pocket_tts_jax.model.flow_lm import FlowLM, FlowLMState, StepOutput, init_state
from pocket_tts_jax.testing.random_checkpoint import random_tensors
from pocket_tts_jax.testing.tiny_model import tiny_config
from pocket_tts_jax.weights.checkpoint import parameter_tree
from tests.model.test_streaming import CLOSE, pieces, random, shapes

pytestmark = pytest.mark.usefixtures("strict")

Model = tuple[FlowLM, Any]
"""A module and its parameters."""


@pytest.fixture(scope="module")
def config() -> Config:
    return tiny_config("lsd")


@pytest.fixture(scope="module")
def lm(config: Config) -> Model:
    tree = parameter_tree(random_tensors(config, 4))
    return FlowLM.of(config), {"params": jax.tree.map(jnp.asarray, tree["flow_lm"])}


def test_prefill_in_pieces(config: Config, lm: Model):
    embeddings, fresh = random(1, 12, 24), init_state(config.flow_lm, 1, 20)
    whole = prefill(lm, fresh, embeddings)
    for sizes in ([1], [5], [3, 1, 8]):
        state = fresh
        for piece in pieces(embeddings, sizes):
            state = prefill(lm, state, piece)
        assert_equal_states(state, whole)


def test_padding_changes_nothing(config: Config, lm: Model):
    embeddings, fresh = random(1, 16, 24), init_state(config.flow_lm, 1, 20)
    plain = prefill(lm, fresh, embeddings[:, :9])
    padded = prefill(lm, fresh, embeddings, length=[9])
    assert_equal_states(padded, plain)
    for frame in range(4):  # the padding's rows are overwritten, one a step
        outputs = [step(lm, state, random(1, 32, seed=frame)) for state in (plain, padded)]
        (a, plain), (b, padded) = outputs
        assert_equal_outputs(a, b)


def test_ragged_rows(config: Config, lm: Model):
    lengths, embeddings = [3, 11, 7], random(3, 11, 24)
    state = prefill(lm, init_state(config.flow_lm, 3, 20), embeddings, lengths)
    np.testing.assert_array_equal(state.position, lengths)
    single = [
        prefill(lm, init_state(config.flow_lm, 1, 20), embeddings[i : i + 1, :n])
        for i, n in enumerate(lengths)
    ]
    latents = random(3, 32, seed=9)
    for noise in random(5, 3, 32, seed=10):
        together, state = step(lm, state, latents, noise)
        for i in range(3):
            alone, single[i] = step(lm, single[i], latents[i : i + 1], noise[i : i + 1])
            assert_equal_outputs(alone, jax.tree.map(lambda x, i=i: x[i : i + 1], together))
        latents = np.asarray(together.latent)


def test_room_left_over_changes_nothing(config: Config, lm: Model):
    outputs = []
    for capacity in (5, 64):
        state = prefill(lm, init_state(config.flow_lm, 1, capacity), random(1, 4, 24))
        outputs.append(step(lm, state, random(1, 32))[0])
    assert_equal_outputs(*outputs)


def test_steps_are_one_forward(config: Config, lm: Model):
    """Teacher forcing in training and frame-by-frame speech are the same function."""
    module, params = lm
    state = prefill(lm, init_state(config.flow_lm, 1, 20), random(1, 6, 24))
    latents = jnp.asarray(random(1, 8, 32, seed=5))

    @jax.jit
    def forward(params: Any, state: FlowLMState) -> jax.Array:
        embedded = module.apply(params, latents, method="embed_audio")
        hidden, _ = module.apply(params, embedded, state, method="forward")
        _, eos_logit = module.apply(params, hidden[0], jnp.zeros((8, 32)), method="heads")
        return eos_logit

    logits = []
    whole = forward(params, state)
    for i in range(8):
        output, state = step(
            lm, state, np.asarray(latents[:, i]), noise=np.zeros((1, 32), np.float32)
        )
        logits.append(output.eos_logit[0])
    np.testing.assert_allclose(logits, whole, **CLOSE)


def test_scan_is_the_loop_and_keeps_the_state(config: Config, lm: Model):
    module, params = lm
    fresh = prefill(lm, init_state(config.flow_lm, 2, 20), random(2, 4, 24))
    noises = random(10, 2, 32, seed=6)

    @jax.jit
    def scanned(params: Any, state: FlowLMState) -> tuple[FlowLMState, StepOutput]:
        def body(carry: Any, noise: jax.Array) -> Any:
            latent, state = carry
            output, state = module.apply(params, state, latent, noise, method="step")
            return (output.latent, state), output

        (_, state), outputs = jax.lax.scan(body, (jnp.zeros((2, 32)), state), noises)
        return state, outputs

    end, outputs = scanned(params, fresh)
    state, latent = fresh, np.zeros((2, 32), np.float32)
    for frame, noise in enumerate(noises):
        output, state = step(lm, state, latent, noise)
        assert shapes(state) == shapes(fresh)
        latent = np.asarray(output.latent)
        assert_equal_outputs(output, jax.tree.map(lambda x, i=frame: x[i], outputs))
    assert_equal_states(state, end)


def test_vmap(config: Config, lm: Model):
    """A batch of models' inputs by `vmap` is the batch of the model."""
    module, params = lm
    state = prefill(lm, init_state(config.flow_lm, 2, 20), random(2, 4, 24), [4, 2])
    latents, noises = random(2, 32, seed=1), random(2, 32, seed=2)

    def one(state: FlowLMState, latent: jax.Array, noise: jax.Array) -> StepOutput:
        state, latent, noise = jax.tree.map(lambda x: x[None], (state, latent, noise))
        output, _ = module.apply(params, state, latent, noise, method="step")
        return jax.tree.map(lambda x: x[0], output)

    mapped = jax.jit(jax.vmap(one))(state, latents, noises)
    assert_equal_outputs(mapped, step(lm, state, latents, noises)[0])


@pytest.mark.parametrize("flow", ["lsd", "drifting"])
def test_every_parameter_has_a_gradient(flow: str):
    config = tiny_config(flow)
    tree = parameter_tree(random_tensors(config, 4))["flow_lm"]
    module, tokens, encoded = FlowLM.of(config), jnp.arange(6)[None], jnp.asarray(random(1, 3, 32))

    @jax.jit
    @jax.grad
    def gradient(params: Any) -> jax.Array:
        call = functools.partial(module.apply, {"params": params})
        voice, text = call(encoded, method="embed_voice"), call(tokens, method="embed_text")
        prefix = jnp.concatenate([voice, text], axis=1)  # pyright: ignore
        state = init_state(config.flow_lm, 1, prefix.shape[1] + 1)
        length = jnp.full((1,), prefix.shape[1], jnp.int32)
        state = call(state, prefix, length, method="prefill")
        bos = params["bos_emb"][None]
        output, _ = call(state, bos, jnp.ones_like(bos), 2, method="step")
        raw = call(output.latent[:, None], method="denormalise")
        return jnp.sum(raw) + jnp.sum(output.eos_logit)  # pyright: ignore

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(tree)):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


@functools.partial(jax.jit, static_argnums=(0, 1))
def call_lm(module: nn.Module, method: str, params: Any, *inputs: Any) -> Any:
    return module.apply(params, *inputs, method=method)


def prefill(
    lm: Any, state: FlowLMState, embeddings: np.ndarray, length: Sequence[int] | None = None
) -> FlowLMState:
    rows, t, _ = embeddings.shape
    lengths = np.array([t] * rows if length is None else length, np.int32)
    return call_lm(lm[0], "prefill", lm[1], state, embeddings, lengths)


def step(
    lm: Any, state: FlowLMState, latent: np.ndarray, noise: np.ndarray | None = None
) -> tuple[StepOutput, FlowLMState]:
    noise = random(*latent.shape, seed=8) if noise is None else noise
    return call_lm(lm[0], "step", lm[1], state, latent, noise)


def assert_equal_outputs(a: StepOutput, b: StepOutput) -> None:
    np.testing.assert_allclose(a.latent, b.latent, **CLOSE)
    np.testing.assert_allclose(a.eos_logit, b.eos_logit, **CLOSE)


def assert_equal_states(a: FlowLMState, b: FlowLMState) -> None:
    """Equal positions, and equal rows before them."""
    np.testing.assert_array_equal(a.position, b.position)
    for ours, theirs in zip(a.layers, b.layers, strict=True):
        for x, y in zip(ours, theirs, strict=True):
            for row, used in enumerate(np.asarray(a.position)):
                np.testing.assert_allclose(x[row, :, :used], y[row, :, :used], **CLOSE)
