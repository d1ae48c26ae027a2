"""Name and shape of every tensor in a checkpoint, computed from its configuration.

The names are the checkpoint's own. They are known without building the model, so a wrong file is
reported at once and loading traces nothing.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from pocket_tts_jax.config import (
    TIME_FREQUENCIES,
    Config,
    FlowLMConfig,
    MimiConfig,
    SEANetConfig,
)

Shape = tuple[int, ...]
Entries = Iterator[tuple[str, Shape]]
Leaf = TypeVar("Leaf")


def parameter_shapes(config: Config) -> dict[str, Shape]:
    """{name: shape} of the published file: `flow_lm.…` and `mimi.…`."""
    flow_lm = _flow_lm(config.flow_lm, config.latent_dim, config.mimi.encoded_dim)
    named = [(f"flow_lm.{name}", shape) for name, shape in flow_lm]
    return dict(named + [(f"mimi.{name}", shape) for name, shape in _mimi(config.mimi)])


def under(tensors: Mapping[str, Leaf], prefix: str) -> dict[str, Leaf]:
    """The tensors whose names start with `prefix`, without the prefix."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _linear(name: str, outputs: int, inputs: int, bias: bool = False) -> Entries:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Entries:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _flow_lm(c: FlowLMConfig, latent_dim: int, encoded_dim: int) -> Entries:
    t, table = c.transformer, c.lookup_table
    d, hidden = t.d_model, c.z_dim or t.d_model
    yield "emb_std", (latent_dim,)
    yield "emb_mean", (latent_dim,)
    yield "bos_emb", (latent_dim,)
    yield "speaker_proj_weight", (d, encoded_dim)
    if c.insert_bos_before_voice:
        yield "bos_before_voice", (1, 1, d)
    yield "conditioner.embed.weight", (table.n_bins + 1, table.rank or table.dim)
    if table.rank is not None:
        yield from _linear("conditioner.proj", table.dim, table.rank)
    yield from _linear("input_linear", d, latent_dim)
    attention = t.attn_dim or d
    key_width = attention // t.num_heads * (t.num_kv_heads or t.num_heads)
    feedforward = t.dim_feedforward or d * t.hidden_scale
    for i in range(t.num_layers):
        name = f"transformer.layers.{i}"
        yield from _transformer_layer(name, d, attention, key_width, feedforward, scale=False)
    yield from _norm("out_norm", d)
    if c.z_dim is not None:
        yield from _linear("z_proj", c.z_dim, d)
    yield from _linear("out_eos", 1, hidden, bias=True)
    yield from ((f"flow_net.{name}", shape) for name, shape in _flow_net(c, latent_dim, hidden))


def _flow_net(c: FlowLMConfig, latent_dim: int, hidden: int) -> Entries:
    width = c.flow.dim
    for i in range(c.flow.time_conditions):
        name = f"time_embed.{i}"
        yield f"{name}.freqs", (TIME_FREQUENCIES // 2,)
        yield from _linear(f"{name}.mlp.0", width, TIME_FREQUENCIES, bias=True)
        yield from _linear(f"{name}.mlp.2", width, width, bias=True)
        yield f"{name}.mlp.3.alpha", (width,)
    yield from _linear("cond_embed", width, hidden, bias=True)
    yield from _linear("input_proj", width, latent_dim, bias=True)
    for i in range(c.flow.depth):
        name = f"res_blocks.{i}"
        yield from _norm(f"{name}.in_ln", width)
        yield from _linear(f"{name}.mlp.0", width, width, bias=True)
        yield from _linear(f"{name}.mlp.2", width, width, bias=True)
        yield from _linear(f"{name}.adaLN_modulation.1", 3 * width, width, bias=True)
    yield from _linear("final_layer.linear", latent_dim, width, bias=True)
    yield from _linear("final_layer.adaLN_modulation.1", 2 * width, width, bias=True)


def _transformer_layer(
    name: str, d: int, attention: int, key_width: int, feedforward: int, scale: bool
) -> Entries:
    yield from _linear(f"{name}.self_attn.in_proj", attention + 2 * key_width, d)
    yield from _linear(f"{name}.self_attn.out_proj", d, attention)
    yield from _norm(f"{name}.norm1", d)
    yield from _norm(f"{name}.norm2", d)
    yield from _linear(f"{name}.linear1", feedforward, d)
    yield from _linear(f"{name}.linear2", d, feedforward)
    if scale:
        yield f"{name}.layer_scale_1.scale", (d,)
        yield f"{name}.layer_scale_2.scale", (d,)


def _mimi(c: MimiConfig) -> Entries:
    stride, width = c.steps_per_frame, c.decoder.dimension
    yield from _seanet_encoder(c.seanet)
    yield from _seanet_decoder(c.decoder)
    for side, t in (("encoder", c.transformer), ("decoder", c.decoder_attention)):
        name, d = f"{side}_transformer", t.d_model
        if t.input_dimension != d:
            yield from _linear(f"{name}.input_proj", d, t.input_dimension)
        for i in range(t.num_layers):
            layer = f"{name}.transformer.layers.{i}"
            yield from _transformer_layer(layer, d, d, d, t.dim_feedforward, scale=True)
        if t.output_dimensions[0] != d:
            yield from _linear(f"{name}.output_projs.0", t.output_dimensions[0], d)
    yield "downsample.conv.conv.weight", (c.encoded_dim, c.seanet.dimension, 2 * stride)
    yield "upsample.convtr.convtr.weight", (width, 1, 2 * stride)
    yield (
        "quantizer.output_proj.weight",
        (c.quantizer.output_dimension, c.quantizer.dimension, 1),
    )


def _conv(name: str, outputs: int, inputs: int, kernel: int) -> Entries:
    yield f"{name}.conv.weight", (outputs, inputs, kernel)
    yield f"{name}.conv.bias", (outputs,)


def _residual_block(name: str, c: SEANetConfig, channels: int) -> Entries:
    hidden = channels // c.compress
    yield from _conv(f"{name}.block.1", hidden, channels, c.residual_kernel_size)
    yield from _conv(f"{name}.block.3", channels, hidden, 1)


def _seanet_encoder(c: SEANetConfig) -> Entries:
    """Indices count the activations between the layers, which hold no tensors."""
    channels, index = c.n_filters, 1
    yield from _conv("encoder.model.0", channels, c.channels, c.kernel_size)
    for ratio in reversed(c.ratios):
        for _ in range(c.n_residual_layers):
            yield from _residual_block(f"encoder.model.{index}", c, channels)
            index += 1
        yield from _conv(f"encoder.model.{index + 1}", 2 * channels, channels, 2 * ratio)
        channels, index = 2 * channels, index + 2
    yield from _conv(f"encoder.model.{index + 1}", c.dimension, channels, c.last_kernel_size)


def _seanet_decoder(c: SEANetConfig) -> Entries:
    channels, index = c.n_filters * 2 ** len(c.ratios), 1
    yield from _conv("decoder.model.0", channels, c.dimension, c.kernel_size)
    for ratio in c.ratios:
        name = f"decoder.model.{index + 1}"
        yield f"{name}.convtr.weight", (channels, channels // 2, 2 * ratio)
        yield f"{name}.convtr.bias", (channels // 2,)
        channels, index = channels // 2, index + 2
        for _ in range(c.n_residual_layers):
            yield from _residual_block(f"decoder.model.{index}", c, channels)
            index += 1
    yield from _conv(f"decoder.model.{index + 1}", c.channels, channels, c.last_kernel_size)
