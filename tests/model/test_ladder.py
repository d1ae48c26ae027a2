"""Each building block against the reference's (`golden/ladder.npz`), at tiny sizes."""

# pyright: reportAttributeAccessIssue=false, reportReturnType=false, reportArgumentType=false
# Flax types the result of `apply` as a union with its variables.

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from pocket_tts_jax.config import (
    FlowConfig,
    FlowLMConfig,
    FlowLMTransformerConfig,
    LookupTableConfig,
    MimiTransformerConfig,
    SEANetConfig,
)
from pocket_tts_jax.model import seanet
from pocket_tts_jax.model.conv import Conv1d, ConvTranspose1d, replicate_start
from pocket_tts_jax.model.flow_head import FinalLayer, ResidualBlock, TimestepEmbedder
from pocket_tts_jax.model.flow_lm import Backbone, append, init_state
from pocket_tts_jax.model.transformer import ProjectedTransformer, init_window
from pocket_tts_jax.weights.checkpoint import parameter_tree
from tests.folders import GOLDEN

STORED = GOLDEN / "ladder.npz"
SEANET = SEANetConfig(
    dimension=6,
    channels=1,
    n_filters=2,
    n_residual_layers=2,
    ratios=(3, 2),
    kernel_size=5,
    residual_kernel_size=3,
    last_kernel_size=3,
    dilation_base=2,
    pad_mode="constant",
    compress=2,
)
WINDOW = MimiTransformerConfig(8, 6, (10,), 2, 2, 0.3, 7, 12)
GROUPED = FlowLMConfig(
    "float32",
    FlowConfig(8, 1),
    FlowLMTransformerConfig(1, 10000.0, 12, 4, 2, 16, 2, 20),
    LookupTableConfig(12, 5, "", ""),
)

pytestmark = pytest.mark.usefixtures("strict")

Step = Callable[[jax.Array, Any], tuple[jax.Array, Any]]


def block(name: str) -> tuple[dict, list[np.ndarray], list[np.ndarray]]:
    """(parameters, inputs, outputs) of one block."""
    with np.load(STORED) as file:
        arrays = {
            k.removeprefix(name + "/"): file[k] for k in file.files if k.startswith(name + "/")
        }
    weights = {
        key.removeprefix("weights/"): value
        for key, value in arrays.items()
        if key.startswith("weights/")
    }
    inputs, outputs = (
        [value for key, value in sorted(arrays.items()) if key.startswith(side)]
        for side in ("in", "out")
    )
    return jax.tree.map(jnp.asarray, parameter_tree(weights)), inputs, outputs


def step_of(module: nn.Module, params: dict) -> Step:
    return lambda x, state: module.apply({"params": params}, x, state)  # pyright: ignore


def conv(params: dict) -> tuple[Step, Any]:
    module = Conv1d(3, 4, 5, dilation=2)
    return step_of(module, params), module.init_state(2)


def strided(params: dict) -> tuple[Step, Any]:
    module = Conv1d(3, 4, 6, stride=3)
    return step_of(module, params), module.init_state(2)


def convtr(params: dict) -> tuple[Step, Any]:
    module = ConvTranspose1d(4, 3, 3)
    return step_of(module, params), module.init_state(2)


def downsample(params: dict) -> tuple[Step, Any]:
    module = Conv1d(3, 5, 8, 4, use_bias=False)
    call = step_of(module, params["conv"])

    def step(x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        history, position = state
        y, history = call(x, replicate_start(x, history, position))
        return y, (history, position + x.shape[1])

    return step, (module.init_state(2), jnp.zeros((2,), jnp.int32))


def upsample(params: dict) -> tuple[Step, Any]:
    module = ConvTranspose1d(3, 3, 4, use_bias=False, depthwise=True)
    return step_of(module, params["convtr"]), module.init_state(2)


def decoder(params: dict) -> tuple[Step, Any]:
    state = seanet.init_state(seanet.decoder_layers(SEANET), 2)
    return step_of(seanet.SEANet(SEANET, "decoder"), params), state


def encoder(params: dict) -> tuple[Step, Any]:
    state = seanet.init_state(seanet.encoder_layers(SEANET), 2)
    return step_of(seanet.SEANet(SEANET, "encoder"), params), state


def window(params: dict) -> tuple[Step, Any]:
    return step_of(ProjectedTransformer(WINDOW), params), init_window(WINDOW, 2)


def grouped(params: dict) -> tuple[Step, Any]:
    module = Backbone(GROUPED, "interleaved", ((0, 0),))

    def step(x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        y, rows, _ = module.apply({"params": params}, x, state)  # pyright: ignore
        return y, append(state, rows, jnp.full((2,), x.shape[1], jnp.int32))

    return step, init_state(GROUPED, 2, 7)


@pytest.mark.parametrize(
    "build",
    [conv, strided, convtr, downsample, upsample, decoder, encoder, window, grouped],
    ids=lambda build: build.__name__,
)
def test_streamed(build: Callable[[dict], tuple[Step, Any]]):
    params, inputs, outputs = block(build.__name__)
    step, state = build(params)
    step = jax.jit(step)
    assert len(inputs) == len(outputs) >= 3
    for x, expected in zip(inputs, outputs, strict=True):
        y, state = step(jnp.asarray(x), state)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "module"),
    [("time", TimestepEmbedder(8)), ("adaln", ResidualBlock(8)), ("final", FinalLayer(5))],
)
def test_called(name: str, module: nn.Module):
    params, inputs, (expected,) = block(name)
    y = jax.jit(module.apply)({"params": params}, *map(jnp.asarray, inputs))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-6)  # pyright: ignore
