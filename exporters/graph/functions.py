"""The exported graphs as JAX functions over folded weights (`transform`).

Activations are [t, c]: the positions of one sequence, or (`step`) one position of each of several.
Only operations that XNNPACK supports are used, and as few as possible, because threads synchronise
at each. The gate compares these functions with the model, and the exported file with both.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pocket_tts_jax.model.attention import MASKED
from pocket_tts_jax.model.conv import elu

Tree = dict[str, Any]
Rows = tuple[Float[Array, "b kv_heads t head_dim"], Float[Array, "b kv_heads t head_dim"]]
Heads = tuple[tuple[int, int], ...]  # (layer, head)


def linear(x: Float[Array, "t i"], weight: Array, bias: Array | None = None) -> Array:
    y = jax.lax.dot_general(x, jnp.asarray(weight), (((1,), (1,)), ((), ())))
    return y if bias is None else y + jnp.asarray(bias)[None]


def normalise(x: Float[Array, "t c"], eps: float, centred: bool) -> Float[Array, "t c"]:
    """Layer norm without gain and offset. With `centred` each row's mean must be zero."""
    if not centred:
        x = x - jnp.mean(x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps)


def rotation(
    positions: Float[Array, "t 1"], head_dim: int, max_period: float
) -> tuple[Array, Array]:
    """(cos, ±sin) of both halves, [t, head_dim]."""
    pairs = np.arange(head_dim // 2, dtype=np.float32)
    frequencies = np.exp(pairs * np.float32(-math.log(max_period) * 2 / head_dim))
    angles = positions * np.tile(frequencies, 2)[None]
    sign = np.repeat(np.array([-1, 1], np.float32), head_dim // 2)
    return jnp.cos(angles), jnp.sin(angles) * sign[None]


def successive(position: Float[Array, " 1"], t: int) -> Float[Array, "t 1"]:
    """t positions from `position` on."""
    return position[:, None] + np.arange(t, dtype=np.float32)[:, None]


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Rotate the last axis; `cos` and `sin` are broadcast."""
    first, second = jnp.split(x, 2, axis=-1)
    return x * cos + jnp.concatenate([second, first], axis=-1) * sin


def past_bias(position: Float[Array, " b"], slots: int) -> Float[Array, "b slots"]:
    """0 where slot < position, a large negative number elsewhere, without a comparison."""
    slot = np.arange(slots, dtype=np.float32)[None]
    return jnp.maximum(jnp.minimum((position[:, None] - 0.5 - slot) * -2 * MASKED, 0), MASKED)


def causal_bias(t: int, slots: int = 0, context: float = math.inf) -> Float[np.ndarray, "t s"]:
    """The bias of t queries over `slots` rows before them and their own: 0 for itself and the
    `context` − 1 rows before it, a large negative number elsewhere."""
    distance = np.arange(t)[:, None] - (np.arange(slots + t) - slots)[None]
    return np.where((distance >= 0) & (distance < context), 0, MASKED).astype(np.float32)


def window_bias(
    position: Float[Array, " 1"], t: int, slots: int, context: int
) -> Float[Array, "t s"]:
    """The bias of t queries over a window, whose last slot holds position − 1, and their own rows
    behind it: 0 for slots that are written and at most `context` − 1 before the query."""
    slot = np.arange(slots + t, dtype=np.float32) - slots
    written = jnp.minimum((position[:, None] + 0.5 + slot[None]) * -2 * MASKED, 0)
    return jnp.maximum(written + causal_bias(t, slots, context), MASKED)


def layer(
    w: Tree,
    x: Float[Array, "t c"],
    cache: tuple[Array, Array],
    rope: tuple[Array, Array],
    cache_bias: Array,
    new_bias: np.ndarray,
    rows_only: bool = False,
) -> tuple[Float[Array, "t c"], Rows]:
    """One pre-norm transformer layer over the positions of one sequence; `rows_only` stops once
    the new rows are known."""
    q, k, v = projections(w, x, rope)
    rows = (k[None], v[None])
    if rows_only:
        return x, rows
    y = many_queries(q, (cache[0][0], cache[1][0]), (k, v), cache_bias, new_bias)
    return after_attention(w, x, rows_of_heads(y, w["heads"])), rows


def window_layer(
    w: Tree,
    x: Float[Array, "t c"],
    window: tuple[Array, Array],
    rope: tuple[Array, Array],
    bias: Float[Array, "t s"],
) -> tuple[Float[Array, "t c"], Rows]:
    """The same layer over a window of earlier rows, for as many key as query heads. Returns the
    window with the new rows behind it."""
    q, k, v = projections(w, x, rope)
    keys, values = (
        jnp.concatenate([old, new[None]], axis=2) for old, new in zip(window, (k, v), strict=True)
    )
    weights = jax.nn.softmax(q @ keys[0].swapaxes(1, 2) + bias[None], axis=-1)
    return after_attention(w, x, rows_of_heads(weights @ values[0], w["heads"])), (keys, values)


def projections(
    w: Tree, x: Float[Array, "t c"], rope: tuple[Array, Array]
) -> tuple[Float[Array, "h t d"], Float[Array, "kv_heads t d"], Float[Array, "kv_heads t d"]]:
    """Queries, keys and values of the positions of one sequence."""
    heads, kv_heads = w["heads"], w["kv_heads"]
    with jax.named_scope("attention"):
        projected = linear(normalise(x, 1e-5, w["centred"]), *w["in"])
    split = projected.reshape(x.shape[0], -1, w["head_dim"]).swapaxes(0, 1)
    turned = rotate(split[: heads + kv_heads], rope[0][None], rope[1][None])
    return turned[:heads], turned[heads:], split[heads + kv_heads :]


def rows_of_heads(y: Array, heads: int) -> Float[Array, "t a"]:
    """What all heads have gathered for each position, side by side."""
    by_head = y.reshape(heads, -1, y.shape[-1])
    return by_head.swapaxes(0, 1).reshape(by_head.shape[1], -1)


def row_layer(
    w: Tree,
    x: Float[Array, "b c"],
    cache: tuple[Array, Array],
    rope: tuple[Array, Array],
    cache_bias: Float[Array, "b slots"],
) -> tuple[Float[Array, "b c"], Rows, Float[Array, "b h slots"]]:
    """The same layer over one position of each of several sequences; it also returns its
    attention over the cache."""
    heads, kv_heads, d = w["heads"], w["kv_heads"], w["head_dim"]
    with jax.named_scope("attention"):
        projected = linear(normalise(x, 1e-5, w["centred"]), *w["in"])
    split = projected.reshape(x.shape[0], -1, d)
    turned = rotate(split[:, : heads + kv_heads], rope[0][:, None], rope[1][:, None])
    k, v = turned[:, heads:], split[:, heads + kv_heads :]
    attend = sums_of_products if kv_heads in (1, heads) else shared_keys
    y, weights = attend(turned[:, :heads], cache, (k, v), cache_bias[:, None])
    slots = cache[0].shape[2]
    return after_attention(w, x, y), (k[:, :, None], v[:, :, None]), weights[:, :, :slots]


def after_attention(
    w: Tree, x: Float[Array, "t c"], attended: Float[Array, "t a"]
) -> Float[Array, "t c"]:
    """The part of a layer after its attention heads."""
    with jax.named_scope("attention"):
        x = x + linear(attended, w["out"])
    with jax.named_scope("feed_forward"):
        up = jax.nn.gelu(linear(normalise(x, 1e-5, w["centred"]), *w["up"]), approximate=True)
        return x + linear(up, w["down"])


Pair = tuple[Array, Array]


def sums_of_products(
    q: Float[Array, "b h d"], cache: Pair, rows: Pair, bias: Float[Array, "b 1 slots"]
) -> tuple[Float[Array, "b e"], Float[Array, "b h s"]]:
    """Attention of one position a sequence, where each head has keys of its own or all share one.

    A matrix product would first repack the whole cache: measured, this takes two thirds of its
    time.
    """
    slots = cache[0].shape[2]
    past = jnp.sum(cache[0] * q[:, :, None], axis=-1) + bias
    own = jnp.sum(rows[0] * q, axis=-1, keepdims=True)
    weights = jax.nn.softmax(jnp.concatenate([past, own], axis=2), axis=-1)
    y = jnp.sum(cache[1] * weights[:, :, :slots, None], axis=2)
    return (y + rows[1] * weights[:, :, slots:]).reshape(q.shape[0], -1), weights


def shared_keys(
    q: Float[Array, "b h d"], cache: Pair, rows: Pair, bias: Float[Array, "b 1 slots"]
) -> tuple[Float[Array, "b e"], Float[Array, "b h s"]]:
    """Attention of one position a sequence, where groups of heads share keys: matrix products."""
    (b, heads, d), (kv_heads, slots) = q.shape, cache[0].shape[1:3]
    queries = q.reshape(b, kv_heads, -1, d)
    past = (queries @ cache[0].swapaxes(2, 3)).reshape(b, heads, slots) + bias
    own = jnp.sum(queries * rows[0][:, :, None], axis=-1).reshape(b, heads, 1)
    weights = jax.nn.softmax(jnp.concatenate([past, own], axis=2), axis=-1)
    grouped = weights.reshape(b, kv_heads, -1, slots + 1)
    y = grouped[..., :slots] @ cache[1] + grouped[..., slots:] * rows[1][:, :, None]
    return y.reshape(b, -1), weights


def many_queries(
    q: Float[Array, "h t d"], cache: Pair, rows: Pair, cache_bias: Array, new_bias: np.ndarray
) -> Float[Array, "kv_heads q d"]:
    """Attention of several positions as matrix products."""
    (heads, t, _), slots = q.shape, cache[0].shape[1]
    if rows[0].shape[0] == 1 and heads > 1:
        # XNNPACK takes a product of two activations only with several matrices (a batch).
        cache, rows = (
            (jnp.concatenate([k] * heads), jnp.concatenate([v] * heads)) for k, v in (cache, rows)
        )
    kv_heads = rows[0].shape[0]
    q = q.reshape(kv_heads, -1, q.shape[2])
    past = (q @ cache[0].swapaxes(1, 2)).reshape(heads, t, slots) + cache_bias[None]
    new = (q @ rows[0].swapaxes(1, 2)).reshape(heads, t, t) + new_bias[None]
    weights = jax.nn.softmax(jnp.concatenate([past, new], axis=2), axis=-1)
    weights = weights.reshape(kv_heads, q.shape[1], slots + t)
    return weights[..., :slots] @ cache[1] + weights[..., slots:] @ rows[1]


def prefill(
    w: Tree,
    x: Float[Array, "t c"],
    position: Float[Array, " 1"],
    caches: list[tuple[Array, Array]],
    max_period: float,
) -> list[Rows]:
    """The rows of each of FlowLM's layers for positions of one sequence, over a cache whose slot i
    holds position i."""
    t, slots = x.shape[0], caches[0][0].shape[2]
    rope = rotation(successive(position, t), w["layers"][0]["head_dim"], max_period)
    biases = past_bias(position, slots), causal_bias(t)
    rows = []
    for i, (weights, cache) in enumerate(zip(w["layers"], caches, strict=True)):
        last = i == len(w["layers"]) - 1
        x, new = layer(weights, x, cache, rope, *biases, rows_only=last)
        rows.append(new)
    return rows


def step(
    w: Tree,
    x: Float[Array, "b c"],
    position: Float[Array, " b"],
    caches: list[tuple[Array, Array]],
    max_period: float,
    alignment_heads: Heads,
) -> tuple[Float[Array, "b c"], list[Rows], Float[Array, "b a slots"]]:
    """FlowLM's layers over one position of each of several sequences, and the attention of a few
    heads."""
    rope = rotation(position[:, None], w["layers"][0]["head_dim"], max_period)
    bias = past_bias(position, caches[0][0].shape[2])
    rows, seen = [], []
    for weights, cache in zip(w["layers"], caches, strict=True):
        x, new, attention = row_layer(weights, x, cache, rope, bias)
        rows.append(new)
        seen.append(attention)
    chosen = [seen[layer][:, head : head + 1] for layer, head in alignment_heads]
    return x, rows, jnp.concatenate(chosen, axis=1)


def velocity(
    w: Tree, condition: Float[Array, "b f"], x: Float[Array, "b z"]
) -> Float[Array, "b z"]:
    """The flow head's output; `condition` includes the time embeddings."""
    with jax.named_scope("flow"):
        return _velocity(w, condition, x)


def _velocity(
    w: Tree, condition: Float[Array, "b f"], x: Float[Array, "b z"]
) -> Float[Array, "b z"]:
    width = condition.shape[1]
    modulation = linear(jax.nn.silu(condition), *w["modulation"])
    parts = jnp.split(modulation, modulation.shape[1] // width, axis=1)
    x = linear(x, *w["input"])
    for i, block in enumerate(w["blocks"]):
        shift, scale, gate = parts[3 * i : 3 * i + 3]
        gain, offset = block["norm"]
        h = normalise(x, 1e-6, False) * gain[None] + offset[None]
        h = jax.nn.silu(linear(h * scale + shift, *block["up"]))
        x = x + gate * linear(h, *block["down"])
    shift, scale = parts[-2:]
    return linear(normalise(x, 1e-6, False) * scale + shift, *w["output"])


def window_transformer(
    w: Tree,
    x: Float[Array, "t c"],
    position: Float[Array, " 1"],
    windows: list[tuple[Array, Array]],
    config: Any,
) -> tuple[Float[Array, "t o"], list[tuple[Array, Array]]]:
    """Mimi's transformer. Its windows are inputs, and come out shifted by the new rows."""
    if w["input"] is not None:
        x = linear(x, w["input"])
    t, slots = x.shape[0], windows[0][0].shape[2]
    rope = rotation(successive(position, t), w["layers"][0]["head_dim"], config.max_period)
    bias = window_bias(position, t, slots, config.context)
    shifted = []
    for weights, window in zip(w["layers"], windows, strict=True):
        x, joined = window_layer(weights, x, window, rope, bias)
        shifted.append(tuple(j[:, :, t:] for j in joined))
    return (x if w["output"] is None else linear(x, w["output"])), shifted


def convolution(
    w: Tree, x: Float[Array, "t i"], previous: Float[Array, "1 history i"]
) -> tuple[Float[Array, "u o"], Float[Array, "1 history i"]]:
    """One layer of a SEANet, of any of the five kinds. Returns its new state too."""
    with jax.named_scope("convolution"):
        return _convolution(w, x, previous)


def _convolution(
    w: Tree, x: Float[Array, "t i"], previous: Float[Array, "1 history i"]
) -> tuple[Float[Array, "u o"], Float[Array, "1 history i"]]:
    if w["kind"] == "residual":
        y, state = convolution(w["wide"], elu(x), previous)
        return x + linear(elu(y), *w["narrow"]), state
    history, before = w["history"], previous[0]
    seen = x if x.shape[0] >= history else jnp.concatenate([before, x], axis=0)
    state = seen[seen.shape[0] - history :][None]
    if w["kind"] == "conv":
        return causal(w, x, before), state
    if w["kind"] == "strided":
        blocks = jnp.concatenate([before, x], axis=0).reshape(-1, w["stride"] * x.shape[1])
        return linear(pairs(blocks), w["weight"], w["bias"]), state
    upsample = fast_upsampling if w["kind"] == "fast" else upsampling
    return upsample(w, x, before).reshape(x.shape[0] * w["stride"], -1), state


def upsampling(w: Tree, x: Float[Array, "t i"], before: Float[Array, "1 i"]) -> Float[Array, "t o"]:
    """A transposed convolution: all outputs of a position from its input and the one before it."""
    return linear(pairs(jnp.concatenate([before, x], axis=0)), w["weight"], w["bias"])


def fast_upsampling(
    w: Tree, x: Float[Array, "t i"], before: Float[Array, "1 i"]
) -> Float[Array, "u o"]:
    """The same for two positions at a time, with three products instead of four.

    With A and B for the weights of the input before and the input itself, A x₋₁ + B x₀ is
    (A + B) x₀ + A (x₋₁ − x₀), and A x₀ + B x₁ is (A + B) x₀ + B (x₁ − x₀): the shortest of the fast
    FIR algorithms (Mou and Duhamel 1991).
    """
    width = x.shape[1]
    first, second = jnp.split(x.reshape(-1, 2 * width), 2, axis=1)
    earlier = jnp.concatenate([before, second[:-1]], axis=0)
    both = linear(first, w["sum"], w["bias"])
    even = both + linear(earlier - first, w["before"])
    odd = both + linear(second - first, w["now"])
    return jnp.concatenate([even, odd], axis=1)


def pairs(x: Float[Array, "t c"]) -> Float[Array, "u d"]:
    """Concatenate each row with the row before it."""
    return jnp.concatenate([x[:-1], x[1:]], axis=1)


def causal(
    w: Tree, x: Float[Array, "t i"], before: Float[Array, "history i"]
) -> Float[Array, "t o"]:
    """A causal convolution, one row of output per input."""
    weight = w["weight"].transpose(1, 2, 0)  # [kernel, in, out]
    kernel, _, outputs = weight.shape
    if outputs == 1:
        # XNNPACK computes 16 outputs or more for each row. Here they are the taps, which a second
        # convolution adds up; then the history needs no copy of x either.
        taps = weight[:, :, 0]
        before, x = jnp.sum(before[:, None] * taps[None], axis=-1), linear(x, taps)
        weight = np.eye(kernel, dtype=np.float32)[:, :, None]
    y = jax.lax.conv_general_dilated(
        jnp.concatenate([before, x], axis=0)[None, :, None, :],
        jnp.asarray(weight[:, None]),
        window_strides=(1, 1),
        padding="VALID",
        rhs_dilation=(w["dilation"], 1),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return (y + jnp.asarray(w["bias"])[None, None, None])[0, :, 0, :]
