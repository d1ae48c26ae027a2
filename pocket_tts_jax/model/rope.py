"""Rotary position embeddings (Su et al. 2021, https://arxiv.org/abs/2104.09864).

The published weights rotate *interleaved* pairs, channels (2i, 2i + 1). The half-split layout
rotates channels (i, i + d/2). With the rows of `in_proj` permuted it gives the same numbers and a
cheaper graph; the exporter uses it.
"""

import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

RopeLayout = Literal["interleaved", "halves"]


class Rotation(NamedTuple):
    """cos and sin of the angle of each pair at each position."""

    cos: Float[Array, "b t half"]
    sin: Float[Array, "b t half"]


def rotation(positions: Int[Array, "b t"], head_dim: int, max_period: float) -> Rotation:
    """Angles of `head_dim // 2` pairs at absolute positions, computed in float32."""
    pairs = jnp.arange(head_dim // 2, dtype=jnp.float32)
    frequencies = jnp.exp(pairs * (-math.log(max_period) * 2 / head_dim))
    angles = positions.astype(jnp.float32)[:, :, None] * frequencies[None, None, :]
    return Rotation(jnp.cos(angles), jnp.sin(angles))


def rotate(
    x: Float[Array, "b h t d"], rope: Rotation, layout: RopeLayout
) -> Float[Array, "b h t d"]:
    """Rotate each pair of channels of queries or keys by the angle of its position."""
    cos, sin = rope.cos[:, None], rope.sin[:, None]
    if layout == "interleaved":
        pairs = x.reshape(*x.shape[:-1], -1, 2)
        real, imaginary = pairs[..., 0], pairs[..., 1]
    else:
        real, imaginary = jnp.split(x, 2, axis=-1)
    turned = (real * cos - imaginary * sin, real * sin + imaginary * cos)
    if layout == "interleaved":
        return jnp.stack(turned, axis=-1).reshape(x.shape)
    return jnp.concatenate(turned, axis=-1)
