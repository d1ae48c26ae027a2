"""The head that turns noise into the next latent, given the transformer's output.

An MLP with adaptive layer norms (Li et al. 2024, https://arxiv.org/abs/2406.11838) that predicts
a velocity, or the sample itself. `sample` runs it as its training objective requires.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from pocket_tts_jax.config import TIME_FREQUENCIES, FlowConfig, FlowType
from pocket_tts_jax.model.layers import LayerNorm, Linear, VarianceNorm

# velocity(x, *times) -> the head's output; the flow type sets the number of times.
Velocity = Callable[..., Float[Array, "b z"]]


class TimestepEmbedder(nn.Module):
    """A time in [0, 1] as sines and cosines, then a two-layer MLP and a norm."""

    features: int

    @nn.compact
    def __call__(self, t: Float[Array, "*b 1"]) -> Float[Array, "*b f"]:
        half = TIME_FREQUENCIES // 2

        def frequencies(_: Array) -> Array:
            return jnp.exp(-math.log(10000.0) * jnp.arange(half, dtype=jnp.float32) / half)

        freqs = self.param("freqs", frequencies)
        angles = t * freqs.reshape((1,) * (t.ndim - 1) + (-1,))
        x = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
        x = jax.nn.silu(Linear(self.features, name="mlp.0")(x))
        return VarianceNorm(name="mlp.3")(Linear(self.features, name="mlp.2")(x))


class ResidualBlock(nn.Module):
    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "*b f"], condition: Float[Array, "*b f"]
    ) -> Float[Array, "*b f"]:
        modulation = Linear(3 * self.features, name="adaLN_modulation.1")(jax.nn.silu(condition))
        shift, scale, gate = jnp.split(modulation, 3, axis=-1)
        h = LayerNorm(1e-6, name="in_ln")(x) * (1 + scale) + shift
        h = Linear(self.features, name="mlp.2")(jax.nn.silu(Linear(self.features, name="mlp.0")(h)))
        return x + gate * h


class FinalLayer(nn.Module):
    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "*b f"], condition: Float[Array, "*b f"]
    ) -> Float[Array, "*b z"]:
        modulation = Linear(2 * x.shape[-1], name="adaLN_modulation.1")(jax.nn.silu(condition))
        shift, scale = jnp.split(modulation, 2, axis=-1)
        h = LayerNorm(1e-6, affine=False, name="norm_final")(x) * (1 + scale) + shift
        return Linear(self.features, name="linear")(h)


class FlowNet(nn.Module):
    config: FlowConfig
    latent_dim: int

    def setup(self) -> None:
        c = self.config
        self.time_embed = [
            TimestepEmbedder(c.dim, name=f"time_embed.{i}") for i in range(c.time_conditions)
        ]
        self.cond_embed = Linear(c.dim)
        self.input_proj = Linear(c.dim)
        self.res_blocks = [ResidualBlock(c.dim, name=f"res_blocks.{i}") for i in range(c.depth)]
        self.final_layer = FinalLayer(self.latent_dim)

    def __call__(
        self,
        hidden: Float[Array, "*b h"],
        x: Float[Array, "*b z"],
        times: tuple[Float[Array, "*b 1"], ...],
    ) -> Float[Array, "*b z"]:
        """The head's output for the noisy latent `x`; `times` is (), (t,) or (s, t)."""
        if len(times) != self.config.time_conditions:
            raise ValueError(
                f"a {self.config.type} head takes {self.config.time_conditions} times, "
                f"got {len(times)}"
            )
        condition = self.cond_embed(hidden)
        if times:
            embedded = [embed(t) for embed, t in zip(self.time_embed, times, strict=True)]
            condition = condition + sum(embedded[1:], embedded[0]) / len(times)
        x = self.input_proj(x)
        for block in self.res_blocks:
            x = block(x, condition)
        return self.final_layer(x, condition)


def sample(
    velocity: Velocity, noise: Float[Array, "b z"], flow_type: FlowType, steps: int
) -> Float[Array, "b z"]:
    """Turn noise into a latent.

    lsd: `steps` jumps of a flow map, s → t (Boffi et al. 2025, https://arxiv.org/abs/2505.18825).
    flow_matching: `steps` Euler steps (Lipman et al. 2022, https://arxiv.org/abs/2210.02747).
    drifting: the head's output. pointwise: the noise plus the head's output. These two ignore
    `steps`, as the reference does; engines refuse any number but 1 for them.
    """
    if flow_type == "drifting":
        return velocity(noise)
    if flow_type == "pointwise":
        return noise + velocity(noise)

    def at(time: float) -> Float[Array, "b 1"]:
        return jnp.full_like(noise[..., :1], time)

    x = noise
    for i in range(steps):
        times = (i / steps, (i + 1) / steps) if flow_type == "lsd" else (i / steps,)
        x = x + velocity(x, *map(at, times)) / steps
    return x
