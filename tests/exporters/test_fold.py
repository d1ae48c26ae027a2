"""Folded weights give the model's own numbers; the gate's other half is in test_export_gate."""

# pyright: reportArgumentType=false
# The graphs take NumPy arrays as well.

import numpy as np
import pytest

from exporters.graph import functions as graph
from exporters.graph.fold import flow_lm_weights, flow_steps, upsampling
from pocket_tts_jax.litert_engine.caches import from_halves, to_halves
from pocket_tts_jax.testing.random_checkpoint import random_tensors
from pocket_tts_jax.testing.tiny_model import tiny_config


def test_centred_weights_write_rows_of_mean_zero() -> None:
    config = tiny_config()
    weights = flow_lm_weights(random_tensors(config), config)
    rng = np.random.default_rng(0)
    for layer in weights["layers"]:
        for name in ("out", "down"):
            x = rng.standard_normal((3, layer[name].shape[1])).astype(np.float32)
            written = np.asarray(graph.linear(x, layer[name]))
            assert abs(written).max() > 0.01
            np.testing.assert_allclose(written.mean(axis=1), 0, atol=1e-6)


def test_flow_offsets_hold_one_vector_per_evaluation() -> None:
    for kind, expected in (("lsd", (1, 2, 3, 4)), ("drifting", (1,)), ("flow_matching", (16,))):
        config = tiny_config(kind)
        offsets = flow_lm_weights(random_tensors(config), config)["flow"]["offsets"]
        assert tuple(map(int, offsets)) == flow_steps(config) == expected
        for count, vectors in offsets.items():
            assert len(vectors) == int(count)
            assert all(v.shape == (config.flow_lm.flow.dim,) for v in vectors)


def test_masks_need_no_comparison() -> None:
    bias = np.asarray(graph.past_bias(np.array([3], np.float32), 6))
    assert (bias[0] == 0).tolist() == [True] * 3 + [False] * 3
    assert bias.min() == graph.MASKED
    window = np.asarray(graph.window_bias(np.array([2], np.float32), 2, 4, context=3))
    # Slots hold positions −2, −1, 0, 1, then come the queries' own 2 and 3; each sees itself and
    # two before it.
    assert (window == 0).tolist() == [
        [False, False, True, True, True, False],
        [False, False, False, True, True, True],
    ]
    assert np.isfinite(window).all()


def test_a_fast_upsampling_is_an_upsampling() -> None:
    rng = np.random.default_rng(0)
    tensors = {
        "up.convtr.weight": rng.standard_normal((6, 5, 8)).astype(np.float32),  # stride 4
        "up.convtr.bias": rng.standard_normal(5).astype(np.float32),
    }
    before, x = np.split(rng.standard_normal((1 + 10, 6)).astype(np.float32), [1])
    plain = graph.upsampling(upsampling(tensors, "up", 4, fast=False), x, before)
    fast = graph.fast_upsampling(upsampling(tensors, "up", 4, fast=True), x, before)
    assert plain.shape == (10, 4 * 5)
    np.testing.assert_allclose(fast.reshape(10, 4 * 5), plain, atol=1e-5)


@pytest.mark.parametrize("dilation", [1, 2])
def test_one_output_is_computed_like_one_of_several(dilation: int) -> None:
    rng = np.random.default_rng(0)
    one = {
        "weight": rng.standard_normal((1, 3, 4)).astype(np.float32),  # [out, kernel, in]
        "bias": rng.standard_normal(1).astype(np.float32),
        "dilation": dilation,
    }
    two = one | {name: np.repeat(one[name], 2, axis=0) for name in ("weight", "bias")}
    before, x = np.split(rng.standard_normal((12, 4)).astype(np.float32), [2 * dilation])
    expected = graph.causal(two, x, before)
    assert expected.shape == (len(x), 2)
    np.testing.assert_allclose(graph.causal(one, x, before), expected[:, :1], atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 4, 8), (1, 1, 1, 2)])
def test_key_layouts_are_inverse(shape: tuple[int, ...]) -> None:
    k = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(from_halves(to_halves(k)), k)
    half = shape[-1] // 2
    np.testing.assert_array_equal(to_halves(k)[..., :half], k[..., 0::2])
