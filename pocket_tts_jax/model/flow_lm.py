"""FlowLM, the language model of Pocket TTS: text and voice in, one latent per 80 ms out.

One causal sequence, [voice, text, audio latents], positions running on. `forward` reads the
cache and returns the new rows; `prefill` and `step` write them. The first audio input is the
learned `bos_emb`, which the caller passes as the first latent. Noise is an input of `step` and
the EOS logit an output, so that every engine can be compared number by number. The attention of
a few heads comes out too: it says which tokens a frame speaks.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import export
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from pocket_tts_jax.config import Config, FlowLMConfig, LookupTableConfig
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.model.attention import KVCache, append_rows, init_cache, linear_mask
from pocket_tts_jax.model.flow_head import FlowNet, sample
from pocket_tts_jax.model.layers import LayerNorm, Linear, contract
from pocket_tts_jax.model.rope import RopeLayout, rotation
from pocket_tts_jax.model.transformer import TransformerLayer


class FlowLMState(NamedTuple):
    """The KV cache of each layer, and the position of each batch entry's next input."""

    layers: tuple[KVCache, ...]
    position: Int[Array, " b"]


class StepOutput(NamedTuple):
    """The next latent (normalised), the logit of "speech ends here", and the attention of the
    `alignment_heads` over the slots of the cache (0 from `position` on)."""

    latent: Float[Array, "b z"]
    eos_logit: Float[Array, " b"]
    attention: Float[Array, "b heads slots"]


def init_state(config: FlowLMConfig, batch: int, capacity: int) -> FlowLMState:
    """An empty state with room for `capacity` positions."""
    heads, kv_heads, head_dim = head_shape(config)
    layers = tuple(
        init_cache(batch, kv_heads, capacity, head_dim)
        for _ in range(config.transformer.num_layers)
    )
    return FlowLMState(layers, jnp.zeros((batch,), jnp.int32))


def head_shape(config: FlowLMConfig) -> tuple[int, int, int]:
    """(query heads, key/value heads, channels per head)."""
    c = config.transformer
    return c.num_heads, c.num_kv_heads or c.num_heads, (c.attn_dim or c.d_model) // c.num_heads


class TextEmbedding(nn.Module):
    """A table of `n_bins + 1` embeddings, of low rank if the configuration sets `rank`."""

    config: LookupTableConfig

    @nn.compact
    def __call__(self, tokens: Int[Array, "b t"]) -> Float[Array, "b t d"]:
        c = self.config
        shape = (c.n_bins + 1, c.rank or c.dim)
        table = self.param("embed.weight", nn.initializers.normal(0.1), shape)
        rows = jnp.take(table, tokens, axis=0)
        return rows if c.rank is None else Linear(c.dim, use_bias=False, name="proj")(rows)


class Backbone(nn.Module):
    """The stack of layers, named `transformer` in the checkpoint."""

    config: FlowLMConfig
    rope_layout: RopeLayout
    alignment_heads: tuple[tuple[int, int], ...]

    def setup(self) -> None:
        c, (heads, kv_heads, head_dim) = self.config.transformer, head_shape(self.config)
        feedforward = c.dim_feedforward or c.d_model * c.hidden_scale
        self.layers = [
            TransformerLayer(
                *(c.d_model, heads, kv_heads, head_dim, feedforward),
                rope_layout=self.rope_layout,
                name=f"layers.{i}",
            )
            for i in range(c.num_layers)
        ]

    def __call__(
        self, x: Float[Array, "b t d"], state: FlowLMState
    ) -> tuple[Float[Array, "b t d"], tuple[KVCache, ...], Float[Array, "b heads t slots"]]:
        t, head_dim = x.shape[1], head_shape(self.config)[2]
        positions = state.position[:, None] + jnp.arange(t, dtype=jnp.int32)[None, :]
        rope = rotation(positions, head_dim, self.config.transformer.max_period)
        mask = linear_mask(state.position, t, state.layers[0].k.shape[2])
        rows, weights = [], []
        for layer, cache in zip(self.layers, state.layers, strict=True):
            x, new, attention = layer(x, cache, rope, mask)
            rows.append(new)
            weights.append(attention)
        seen = [weights[layer][:, head] for layer, head in self.alignment_heads]
        return x, tuple(rows), jnp.stack(seen, axis=1) if seen else weights[0][:, :0]


class FlowLM(nn.Module):
    """All of FlowLM. Apply one of its methods: `model.apply(params, ..., method="step")`.

    `alignment_heads` are the (layer, head) pairs whose attention a step returns.
    """

    config: FlowLMConfig
    latent_dim: int
    encoded_dim: int
    rope_layout: RopeLayout = "interleaved"
    alignment_heads: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(
        cls,
        config: Config,
        rope_layout: RopeLayout = "interleaved",
        alignment_heads: tuple[tuple[int, int], ...] = (),
    ) -> "FlowLM":
        widths = config.latent_dim, config.mimi.encoded_dim
        return cls(config.flow_lm, *widths, rope_layout, alignment_heads)

    def setup(self) -> None:
        c, d_model = self.config, self.config.transformer.d_model
        self.conditioner = TextEmbedding(c.lookup_table)
        self.speaker_proj_weight = self.param(
            "speaker_proj_weight", nn.initializers.lecun_normal(1, 0), (d_model, self.encoded_dim)
        )
        if c.insert_bos_before_voice:
            self.bos_before_voice = self.param(
                "bos_before_voice", nn.initializers.normal(1.0), (1, 1, d_model)
            )
        latent = (self.latent_dim,)
        self.bos_emb = self.param("bos_emb", nn.initializers.normal(1.0), latent)
        self.emb_mean = self.param("emb_mean", nn.initializers.zeros_init(), latent)
        self.emb_std = self.param("emb_std", nn.initializers.ones_init(), latent)
        self.input_linear = Linear(d_model, use_bias=False)
        self.transformer = Backbone(c, self.rope_layout, self.alignment_heads)
        self.out_norm = LayerNorm(1e-5)
        if c.z_dim is not None:
            self.z_proj = Linear(c.z_dim, use_bias=False)
        self.out_eos = Linear(1)
        self.flow_net = FlowNet(c.flow, self.latent_dim)

    def embed_text(self, tokens: Int[Array, "b t"]) -> Float[Array, "b t d"]:
        return self.conditioner(tokens)

    def embed_audio(self, latents: Float[Array, "b t z"]) -> Float[Array, "b t d"]:
        """Embed normalised latents, the first of which is `bos_emb`."""
        return self.input_linear(latents)

    def embed_voice(self, encoded: Float[Array, "b t encoded"]) -> Float[Array, "b u d"]:
        """Embed the encoder's latents of a recording, after `bos_before_voice` if the model has
        it."""
        voice = contract(encoded, self.speaker_proj_weight)
        if not self.config.insert_bos_before_voice:
            return voice
        bos = jnp.broadcast_to(self.bos_before_voice, (voice.shape[0], 1, voice.shape[2]))
        return jnp.concatenate([bos, voice], axis=1)

    def denormalise(self, latents: Float[Array, "b t z"]) -> Float[Array, "b t z"]:
        """Latents as Mimi decodes them."""
        return latents * self.emb_std[None, None] + self.emb_mean[None, None]

    def forward(
        self, embeddings: Float[Array, "b t d"], state: FlowLMState
    ) -> tuple[Float[Array, "b t h"], tuple[KVCache, ...]]:
        """Hidden states for the heads, and the new rows. Does not change the cache."""
        hidden, rows, _ = self.forward_with_attention(embeddings, state)
        return hidden, rows

    def forward_with_attention(
        self, embeddings: Float[Array, "b t d"], state: FlowLMState
    ) -> tuple[Float[Array, "b t h"], tuple[KVCache, ...], Float[Array, "b heads t slots"]]:
        x, rows, attention = self.transformer(embeddings, state)
        x = self.out_norm(x)
        return (x if self.config.z_dim is None else self.z_proj(x)), rows, attention

    def heads(
        self, hidden: Float[Array, "b h"], noise: Float[Array, "b z"], flow_steps: int = 1
    ) -> tuple[Float[Array, "b z"], Float[Array, " b"]]:
        """The sample and the EOS logit of one position."""

        def velocity(x: Array, *times: Array) -> Array:
            return self.flow_net(hidden, x, times)

        latent = sample(velocity, noise, self.config.flow.type, flow_steps)
        return latent, self.out_eos(hidden)[..., 0]

    def prefill(
        self,
        state: FlowLMState,
        embeddings: Float[Array, "b t d"],
        length: Int[Array, " b"],
    ) -> FlowLMState:
        """Read a prefix; the first `length` positions of each batch entry count, the rest is
        padding.

        The state must have room for `t` more positions, padding included: see `append`.
        """
        _, rows = self.forward(embeddings, state)
        return append(state, rows, length)

    def propose(
        self,
        state: FlowLMState,
        latent: Float[Array, "b z"],
        noise: Float[Array, "b z"],
        flow_steps: int = 1,
    ) -> tuple[StepOutput, tuple[KVCache, ...]]:
        """`step` without the write: the next latent, and the rows for `append`."""
        hidden, rows, attention = self.forward_with_attention(
            self.embed_audio(latent[:, None]), state
        )
        latent, eos_logit = self.heads(hidden[:, 0], noise, flow_steps)
        return StepOutput(latent, eos_logit, attention[:, :, 0]), rows

    def step(
        self,
        state: FlowLMState,
        latent: Float[Array, "b z"],
        noise: Float[Array, "b z"],
        flow_steps: int = 1,
    ) -> tuple[StepOutput, FlowLMState]:
        """One frame: the previous latent in, the next one out. `noise` has the temperature in it:
        its standard deviation is √temperature. The state must have room for one more position:
        see `append`."""
        output, rows = self.propose(state, latent, noise, flow_steps)
        return output, append(state, rows, jnp.ones_like(state.position))

    def __call__(
        self, tokens: Int[Array, "b t"], encoded: Float[Array, "b t encoded"]
    ) -> StepOutput:
        """A short run of every part, for `init`: it uses every parameter."""
        voice, text = self.embed_voice(encoded), self.embed_text(tokens)
        prefix = jnp.concatenate([voice, text], axis=1)
        batch, t, _ = prefix.shape
        state = init_state(self.config, batch, t + 1)
        state = self.prefill(state, prefix, jnp.full((batch,), t, jnp.int32))
        bos = jnp.broadcast_to(self.bos_emb, (batch, self.latent_dim))
        output, _ = self.step(state, bos, jnp.zeros_like(bos))
        return output._replace(latent=self.denormalise(output.latent[:, None])[:, 0])


def append(state: FlowLMState, rows: tuple[KVCache, ...], length: Int[Array, " b"]) -> FlowLMState:
    """Write new rows; the first `length` of each batch entry count.

    The caches must have room for all the rows. Where the position is a number, ConfigError says
    that they have not; inside `jit`, `scan` or `vmap` it is not known, and rows beyond the
    capacity overwrite the last ones without a word: choose a capacity of voice + text + frames.

    Compiled by itself with `state` donated it writes in place. In one function with the reads of
    `forward` it does not: XLA then copies every cache, once a frame.
    """
    if not isinstance(state.position, Tracer):
        _check_room(state, rows)
    layers = tuple(
        append_rows(cache, new, state.position)
        for cache, new in zip(state.layers, rows, strict=True)
    )
    return FlowLMState(layers, state.position + length)


def _check_room(state: FlowLMState, rows: tuple[KVCache, ...]) -> None:
    capacity, count = state.layers[0].k.shape[2], rows[0].k.shape[2]
    position = int(np.asarray(state.position).max())  # not jnp: that would be traced inside jit
    if position + count > capacity:
        raise ConfigError(
            f"The state has room for {capacity} positions: {count} more do not fit behind "
            f"{position}. Begin with a larger capacity."
        )


export.register_namedtuple_serialization(FlowLMState, serialized_name="pocket_tts_jax.FlowLMState")
export.register_namedtuple_serialization(StepOutput, serialized_name="pocket_tts_jax.StepOutput")
