"""Causal attention over a cache and the rows of this call.

The cache is an argument and is only read; the call returns its new key and value rows. The owner of
the cache stores them: FlowLM at their position (`append_rows`), Mimi by shifting a window
(`shift_rows`), an app in its own buffers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import export
from jaxtyping import Array, Bool, Float, Int

from pocket_tts_jax.model.layers import Linear
from pocket_tts_jax.model.rope import RopeLayout, Rotation, rotate

# Finite, so that a fully masked row gives a mean instead of NaN.
MASKED = -1e9


class KVCache(NamedTuple):
    """Keys (already rotated) and values of one layer; also the form of new rows."""

    k: Float[Array, "b kv_heads slots head_dim"]
    v: Float[Array, "b kv_heads slots head_dim"]


export.register_namedtuple_serialization(KVCache, serialized_name="pocket_tts_jax.KVCache")


class Mask(NamedTuple):
    """Which slots of the cache, and which rows of this call, a query may see."""

    cache: Bool[Array, "b t slots"]
    new: Bool[Array, "t t"]


def init_cache(batch: int, kv_heads: int, slots: int, head_dim: int) -> KVCache:
    """An empty cache of zeros: masked slots are still multiplied, so they must be finite."""
    shape = (batch, kv_heads, slots, head_dim)
    return KVCache(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))


def linear_mask(position: Int[Array, " b"], t: int, slots: int) -> Mask:
    """Mask of a cache whose slot i holds position i: all of the past, causal within the call."""
    written = jnp.arange(slots)[None, :] < position[:, None]
    cache = jnp.broadcast_to(written[:, None, :], (position.shape[0], t, slots))
    return Mask(cache, jnp.tril(jnp.ones((t, t), bool)))


def window_mask(position: Int[Array, " b"], t: int, slots: int, context: int) -> Mask:
    """Mask of a window whose last slot holds position − 1: a query sees at most `context` keys,
    its own included."""
    query, key = jnp.arange(t), jnp.arange(slots) - slots  # relative to `position`
    near = query[:, None] - key[None, :] < context
    written = key[None, :] + position[:, None] >= 0
    distance = query[:, None] - query[None, :]
    return Mask(near[None] & written[:, None, :], (distance >= 0) & (distance < context))


def append_rows(cache: KVCache, rows: KVCache, position: Int[Array, " b"]) -> KVCache:
    """Write the rows of each batch entry at its own position. They must fit: beyond the last slot
    XLA would shift them back without an error.

    One update slice per batch entry, which XLA does in place in a donated cache; a batched one
    would become a scatter.
    """

    def write(slots: Array, new: Array) -> Array:
        for b in range(slots.shape[0]):
            start = (b, 0, position[b], 0)
            slots = jax.lax.dynamic_update_slice(slots, new[b : b + 1], start)
        return slots

    return KVCache(*(write(c, r) for c, r in zip(cache, rows, strict=True)))


def shift_rows(window: KVCache, rows: KVCache) -> KVCache:
    """Append the rows to the window and drop as many of the oldest."""
    slots = window.k.shape[2]
    joined = (jnp.concatenate([w, r], axis=2) for w, r in zip(window, rows, strict=True))
    return KVCache(*(x[:, :, x.shape[2] - slots :] for x in joined))


class Attention(nn.Module):
    """Grouped-query attention with a fused, bias-free input projection (q, then k, v)."""

    d_model: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_layout: RopeLayout = "interleaved"

    def setup(self) -> None:
        width = (self.num_heads + 2 * self.num_kv_heads) * self.head_dim
        self.in_proj = Linear(width, use_bias=False)
        self.out_proj = Linear(self.d_model, use_bias=False)

    def __call__(
        self, x: Float[Array, "b t d"], cache: KVCache, rope: Rotation, mask: Mask
    ) -> tuple[Float[Array, "b t d"], KVCache, Float[Array, "b h t slots"]]:
        """The update, the new rows, and what each head looked at in the cache."""
        b, t, _ = x.shape
        heads = self.in_proj(x).reshape(b, t, -1, self.head_dim).transpose(0, 2, 1, 3)
        q = rotate(heads[:, : self.num_heads], rope, self.rope_layout)
        k, v = jnp.split(heads[:, self.num_heads :], 2, axis=1)
        rows = KVCache(rotate(k, rope, self.rope_layout), v)
        y, weights = attend(q, cache, rows, mask)
        return self.out_proj(y.transpose(0, 2, 1, 3).reshape(b, t, -1)), rows, weights


def attend(
    q: Float[Array, "b h t d"], cache: KVCache, rows: KVCache, mask: Mask
) -> tuple[Float[Array, "b h t d"], Float[Array, "b h t slots"]]:
    """Softmax attention over [cache ; rows], and its weights on the cache.

    Query heads share key heads in consecutive groups.
    """
    b, h, t, d = q.shape
    kv_heads = rows.k.shape[1]
    groups = h // kv_heads
    queries = (q * (d**-0.5)).reshape(b, kv_heads, groups * t, d)
    slots = cache.k.shape[2]
    visible = jnp.concatenate([mask.cache, jnp.broadcast_to(mask.new[None], (b, t, t))], axis=2)
    # keys · queriesᵀ, not queries · keysᵀ: only the few queries are transposed, never the cache.
    columns = queries.swapaxes(2, 3)
    scores = jnp.concatenate([k @ columns for k in (cache.k, rows.k)], axis=2).swapaxes(2, 3)
    scores = scores.reshape(b, kv_heads, groups, t, slots + t)
    scores = jnp.where(visible[:, None, None], scores, MASKED)
    weights = jax.nn.softmax(scores, axis=-1).reshape(b, kv_heads, groups * t, slots + t)
    y = weights[..., :slots] @ cache.v + weights[..., slots:] @ rows.v
    return y.reshape(b, h, t, d), weights[..., :slots].reshape(b, h, t, slots)
