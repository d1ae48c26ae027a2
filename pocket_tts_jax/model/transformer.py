"""The pre-norm transformer layer of FlowLM and Mimi, and Mimi's transformer."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import export
from jaxtyping import Array, Float, Int

from pocket_tts_jax.config import MimiTransformerConfig
from pocket_tts_jax.model.attention import (
    Attention,
    KVCache,
    Mask,
    init_cache,
    shift_rows,
    window_mask,
)
from pocket_tts_jax.model.layers import LayerNorm, LayerScale, Linear
from pocket_tts_jax.model.rope import RopeLayout, Rotation, rotation


class TransformerLayer(nn.Module):
    d_model: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    dim_feedforward: int
    layer_scale: float | None = None
    rope_layout: RopeLayout = "interleaved"

    def setup(self) -> None:
        self.self_attn = Attention(
            self.d_model, self.num_heads, self.num_kv_heads, self.head_dim, self.rope_layout
        )
        self.norm1 = LayerNorm(1e-5)
        self.norm2 = LayerNorm(1e-5)
        self.linear1 = Linear(self.dim_feedforward, use_bias=False)
        self.linear2 = Linear(self.d_model, use_bias=False)
        if self.layer_scale is not None:
            self.layer_scale_1 = LayerScale(self.layer_scale)
            self.layer_scale_2 = LayerScale(self.layer_scale)

    def __call__(
        self, x: Float[Array, "b t d"], cache: KVCache, rope: Rotation, mask: Mask
    ) -> tuple[Float[Array, "b t d"], KVCache, Float[Array, "b h t slots"]]:
        update, rows, weights = self.self_attn(self.norm1(x), cache, rope, mask)
        x = x + (update if self.layer_scale is None else self.layer_scale_1(update))
        update = self.linear2(jax.nn.gelu(self.linear1(self.norm2(x)), approximate=True))
        x = x + (update if self.layer_scale is None else self.layer_scale_2(update))
        return x, rows, weights


class WindowState(NamedTuple):
    """State of Mimi's transformer: the last `context` rows of each layer, and the number of steps
    so far."""

    layers: tuple[KVCache, ...]
    position: Int[Array, " b"]


export.register_namedtuple_serialization(WindowState, serialized_name="pocket_tts_jax.WindowState")


def init_window(config: MimiTransformerConfig, batch: int) -> WindowState:
    head_dim = config.d_model // config.num_heads
    layers = tuple(
        init_cache(batch, config.num_heads, config.context, head_dim)
        for _ in range(config.num_layers)
    )
    return WindowState(layers, jnp.zeros((batch,), jnp.int32))


class Layers(nn.Module):
    """Mimi's layers, named `transformer` in the checkpoint, with layer scale and a window."""

    config: MimiTransformerConfig
    rope_layout: RopeLayout = "interleaved"

    def setup(self) -> None:
        c = self.config
        heads, head_dim = c.num_heads, c.d_model // c.num_heads
        self.layers = [
            TransformerLayer(
                *(c.d_model, heads, heads, head_dim, c.dim_feedforward, c.layer_scale),
                rope_layout=self.rope_layout,
                name=f"layers.{i}",
            )
            for i in range(c.num_layers)
        ]

    def __call__(
        self, x: Float[Array, "b t d"], state: WindowState
    ) -> tuple[Float[Array, "b t d"], WindowState]:
        c, t = self.config, x.shape[1]
        positions = state.position[:, None] + jnp.arange(t, dtype=jnp.int32)[None, :]
        rope = rotation(positions, c.d_model // c.num_heads, c.max_period)
        mask = window_mask(state.position, t, state.layers[0].k.shape[2], c.context)
        layers = []
        for layer, window in zip(self.layers, state.layers, strict=True):
            x, rows, _ = layer(x, window, rope, mask)
            layers.append(shift_rows(window, rows))
        return x, WindowState(tuple(layers), state.position + t)


class ProjectedTransformer(nn.Module):
    """`Layers` between an input and an output projection, each present only if widths differ."""

    config: MimiTransformerConfig
    rope_layout: RopeLayout = "interleaved"

    def setup(self) -> None:
        c = self.config
        self.transformer = Layers(c, self.rope_layout)
        if c.input_dimension != c.d_model:
            self.input_proj = Linear(c.d_model, use_bias=False)
        if c.output_dimensions[0] != c.d_model:
            self.output_proj = Linear(c.output_dimensions[0], use_bias=False, name="output_projs.0")

    def __call__(
        self, x: Float[Array, "b t i"], state: WindowState
    ) -> tuple[Float[Array, "b t o"], WindowState]:
        c = self.config
        if c.input_dimension != c.d_model:
            x = self.input_proj(x)
        x, state = self.transformer(x, state)
        if c.output_dimensions[0] != c.d_model:
            x = self.output_proj(x)
        return x, state
