"""Folds the weights for the exported graphs: constant products are computed once, on the host.

- RMS instead of layer norm: only layer norms read the residual stream of a transformer, so its
  mean over the channels never matters. Centring the weights of everything that writes to it
  makes that mean zero, and the graph need not subtract it.
- The gain and offset of a norm, layer scales and 1/√head_dim go into the neighbouring products.
- The rows of q and k are permuted so that rotary pairs lie half a head apart.
- A transposed convolution of two strides is a product with the last two inputs, or three products
  with every other one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pocket_tts_jax.config import TIME_FREQUENCIES, Config, FlowConfig, SEANetConfig
from pocket_tts_jax.model.flow_lm import head_shape
from pocket_tts_jax.weights.expected import under

LSD_STEPS = (1, 2, 3, 4)
FLOW_MATCHING_STEPS = (16,)
# The first upsampling of a decoder is its second layer, with most weights and fewest positions: a
# fast form would cost as much memory there as it saves time.
PLAIN_LAYERS = 2
Tensors = Mapping[str, np.ndarray]
Tree = dict[str, Any]


def flow_lm_weights(tensors: Tensors, config: Config) -> Tree:
    """The weights of FlowLM's graphs, from tensors under their published names."""
    c = config.flow_lm
    t = under(tensors, "flow_lm.")
    heads, kv_heads, head_dim = head_shape(c)
    layers = [
        _layer(under(t, f"transformer.layers.{i}."), heads, kv_heads, head_dim)
        for i in range(c.transformer.num_layers)
    ]
    table = t["conditioner.embed.weight"]
    if c.lookup_table.rank is None:
        text: Tree = {"table": _centre(table.T).T, "proj": None}
    else:
        text = {"table": table, "proj": _centre(t["conditioner.proj.weight"])}
    norm_gain, norm_offset = t["out_norm.weight"], t["out_norm.bias"]
    z = np.eye(norm_gain.shape[0], dtype=np.float32) if c.z_dim is None else t["z_proj.weight"]
    hidden = (z * norm_gain, z @ norm_offset)  # from the normalised stream to the heads' input
    return {
        "layers": layers,
        "text": text,
        "voice": _centre(t["speaker_proj_weight"]),
        "voice_start": _centre(t["bos_before_voice"][0, 0]) if c.insert_bos_before_voice else None,
        "bos": t["bos_emb"],
        "audio": _centre(t["input_linear.weight"]),
        "eos": _after(t["out_eos.weight"], t["out_eos.bias"], hidden),
        "flow": _flow(under(t, "flow_net."), config, hidden),
    }


def flow_steps(config: Config) -> tuple[int, ...]:
    """The numbers of evaluations of the flow head per frame that are exported."""
    many = {"lsd": LSD_STEPS, "flow_matching": FLOW_MATCHING_STEPS}
    return many.get(config.flow_lm.flow.type, (1,))


def _flow(t: Tensors, config: Config, hidden: tuple[np.ndarray, np.ndarray]) -> Tree:
    """The flow head. All its modulations read one vector, so they are one product."""
    c = config.flow_lm
    blocks = [under(t, f"res_blocks.{i}.") for i in range(c.flow.depth)]
    last = under(t, "final_layer.")
    modulation = [b["adaLN_modulation.1.weight"] for b in blocks]
    offset = [_one_plus(b["adaLN_modulation.1.bias"], 3) for b in blocks]
    return {
        "condition": _after(t["cond_embed.weight"], t["cond_embed.bias"], hidden),
        "input": (t["input_proj.weight"], t["input_proj.bias"]),
        "modulation": (
            np.concatenate([*modulation, last["adaLN_modulation.1.weight"]]),
            np.concatenate([*offset, _one_plus(last["adaLN_modulation.1.bias"], 2)]),
        ),
        "blocks": [
            {
                "norm": (b["in_ln.weight"], b["in_ln.bias"]),
                "up": (b["mlp.0.weight"], b["mlp.0.bias"]),
                "down": (b["mlp.2.weight"], b["mlp.2.bias"]),
            }
            for b in blocks
        ],
        "output": (last["linear.weight"], last["linear.bias"]),
        "offsets": {str(n): _time_offsets(t, c.flow, n) for n in flow_steps(config)},
    }


def _time_offsets(t: Tensors, c: FlowConfig, steps: int) -> list[np.ndarray]:
    """The constant time embeddings of each of `steps` evaluations, added to the condition."""
    offsets = []
    for i in range(steps):
        times = {"lsd": (i / steps, (i + 1) / steps), "flow_matching": (i / steps,)}
        embedded = [
            _embed_time(under(t, f"time_embed.{n}."), time)
            for n, time in enumerate(times.get(c.type, ()))
        ]
        mean = sum(embedded) / max(len(embedded), 1)
        offsets.append(np.broadcast_to(mean, (c.dim,)).astype(np.float32))
    return offsets


def _embed_time(t: Tensors, time: float) -> np.ndarray:
    angles = np.float32(time) * t["freqs"]
    if angles.size != TIME_FREQUENCIES // 2:
        raise ValueError(f"got {angles.size} frequencies, expected {TIME_FREQUENCIES // 2}")
    x = np.concatenate([np.cos(angles), np.sin(angles)])
    x = t["mlp.0.weight"] @ x + t["mlp.0.bias"]
    x = t["mlp.2.weight"] @ (x / (1 + np.exp(-x))) + t["mlp.2.bias"]
    return x * t["mlp.3.alpha"] / np.sqrt(np.var(x, ddof=1) + np.float32(1e-5))


def decoder_weights(tensors: Tensors, config: Config, plain: int = PLAIN_LAYERS) -> Tree:
    """The weights of Mimi's decoder graph, which reads FlowLM's normalised latents. Upsamplings
    after the first `plain` layers get the fast form."""
    c, t = config.mimi, under(tensors, "mimi.")
    mean, std = tensors["flow_lm.emb_mean"], tensors["flow_lm.emb_std"]
    project = t["quantizer.output_proj.weight"][:, :, 0]
    upsample = t["upsample.convtr.convtr.weight"][:, 0]  # [c, 2 · stride]
    return {
        "input": (project * std, project @ mean),
        "upsample": np.split(upsample.T, 2),  # this frame's response, the next one's
        "transformer": _projected(t, "decoder_transformer", c.decoder_attention),
        "convolutions": _decoder_convolutions(t, c.decoder, plain),
    }


def encoder_weights(tensors: Tensors, config: Config) -> Tree:
    """The weights of the encoder graph."""
    c, t = config.mimi, under(tensors, "mimi.")
    return {
        "convolutions": _encoder_convolutions(t, c.seanet),
        "transformer": _projected(t, "encoder_transformer", c.transformer),
        "downsample": _strided(t["downsample.conv.conv.weight"], None, c.steps_per_frame),
    }


def _projected(t: Tensors, name: str, c: Any) -> Tree:
    head_dim = c.d_model // c.num_heads
    first = t.get(f"{name}.input_proj.weight")
    last = t.get(f"{name}.output_projs.0.weight")
    # With both projections only norms read the stream, so that it can be centred.
    centred = first is not None and last is not None
    layers = [
        _layer(
            under(t, f"{name}.transformer.layers.{i}."),
            *(c.num_heads, c.num_heads, head_dim),
            centred=centred,
        )
        for i in range(c.num_layers)
    ]
    if first is not None and centred:
        first = _centre(first)
    return {"input": first, "layers": layers, "output": last, "centred": centred}


def _layer(t: Tensors, heads: int, kv_heads: int, head_dim: int, centred: bool = True) -> Tree:
    gain, offset = t["norm1.weight"], t["norm1.bias"]
    project = _halves(t["self_attn.in_proj.weight"], heads, kv_heads, head_dim)
    attended = t["self_attn.out_proj.weight"]
    down = t["linear2.weight"]
    if "layer_scale_1.scale" in t:
        attended = attended * t["layer_scale_1.scale"][:, None]
        down = down * t["layer_scale_2.scale"][:, None]
    write = _centre if centred else np.asarray
    return {
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "centred": centred,
        "in": (project * gain, project @ offset),
        "out": write(attended),
        "up": (t["linear1.weight"] * t["norm2.weight"], t["linear1.weight"] @ t["norm2.bias"]),
        "down": write(down),
    }


def _halves(in_proj: np.ndarray, heads: int, kv_heads: int, head_dim: int) -> np.ndarray:
    """Permute q and k from interleaved pairs to halves, and scale q for the softmax."""
    rows = in_proj.reshape(heads + 2 * kv_heads, head_dim, -1).copy()
    turned = rows[: heads + kv_heads]
    rows[: heads + kv_heads] = np.concatenate([turned[:, 0::2], turned[:, 1::2]], axis=1)
    rows[:heads] *= np.float32(head_dim**-0.5)
    return rows.reshape(in_proj.shape)


def _decoder_convolutions(t: Tensors, c: SEANetConfig, plain: int) -> list[Tree]:
    layers, index = [_conv(t, "decoder.model.0")], 1
    for ratio in c.ratios:
        # The fast form takes positions by twos; after an even ratio their number is even.
        fast = len(layers) >= plain and c.ratios[0] % 2 == 0
        layers.append(upsampling(t, f"decoder.model.{index + 1}", ratio, fast))
        index += 2
        for j in range(c.n_residual_layers):
            layers.append(_residual(t, f"decoder.model.{index + j}", c.dilation_base**j))
        index += c.n_residual_layers
    return [*layers, _conv(t, f"decoder.model.{index + 1}")]


def _encoder_convolutions(t: Tensors, c: SEANetConfig) -> list[Tree]:
    layers, index = [_conv(t, "encoder.model.0")], 1
    for ratio in reversed(c.ratios):
        for j in range(c.n_residual_layers):
            layers.append(_residual(t, f"encoder.model.{index + j}", c.dilation_base**j))
        index += c.n_residual_layers
        name = f"encoder.model.{index + 1}.conv"
        layers.append(_strided(t[f"{name}.weight"], t[f"{name}.bias"], ratio))
        index += 2
    return [*layers, _conv(t, f"encoder.model.{index + 1}")]


def _conv(t: Tensors, name: str, dilation: int = 1) -> Tree:
    weight = t[f"{name}.conv.weight"]  # [out, in, kernel]
    return {
        "kind": "conv",
        "weight": weight.transpose(0, 2, 1).copy(),  # taps outermost: patches are concatenations
        "bias": t[f"{name}.conv.bias"],
        "dilation": dilation,
        "history": (weight.shape[2] - 1) * dilation,
        "inputs": weight.shape[1],
    }


def _strided(weight: np.ndarray, bias: np.ndarray | None, stride: int) -> Tree:
    """A convolution of kernel 2 · stride: a product with the last two blocks of inputs."""
    if weight.shape[2] != 2 * stride:
        raise ValueError(f"got a kernel of {weight.shape[2]}, expected two strides of {stride}")
    return {
        "kind": "strided",
        "weight": weight.transpose(0, 2, 1).reshape(weight.shape[0], -1).copy(),
        "bias": np.zeros(weight.shape[0], np.float32) if bias is None else bias,
        "stride": stride,
        "history": stride,
        "inputs": weight.shape[1],
    }


def upsampling(t: Tensors, name: str, stride: int, fast: bool) -> Tree:
    """A transposed convolution of kernel 2 · stride; products are [stride · out, in]. `fast` is the
    form of `functions.fast_upsampling`."""
    weight = t[f"{name}.convtr.weight"]  # [in, out, 2 · stride]
    inputs = weight.shape[0]
    now, before = (x.reshape(-1, inputs).copy() for x in np.split(weight.transpose(2, 1, 0), 2))
    form = (
        {"kind": "fast", "sum": before + now, "before": before, "now": now}
        if fast
        else {"kind": "transposed", "weight": np.concatenate([before, now], axis=1)}
    )
    bias = np.tile(t[f"{name}.convtr.bias"], stride)
    return form | {"bias": bias, "stride": stride, "history": 1, "inputs": inputs}


def _residual(t: Tensors, name: str, dilation: int) -> Tree:
    wide = _conv(t, f"{name}.block.1", dilation)
    narrow = t[f"{name}.block.3.conv.weight"][:, :, 0].copy(), t[f"{name}.block.3.conv.bias"]
    return {"kind": "residual", "wide": wide, "narrow": narrow} | {
        size: wide[size] for size in ("history", "inputs")
    }


def _centre(weight: np.ndarray) -> np.ndarray:
    """Remove the mean over the outputs (axis 0), in float64."""
    return (weight - weight.mean(axis=0, keepdims=True, dtype=np.float64)).astype(np.float32)


def _one_plus(bias: np.ndarray, parts: int) -> np.ndarray:
    """Add 1 to the bias of the scale, the second part: modulations multiply by 1 + scale."""
    bias = bias.copy()
    width = bias.shape[0] // parts
    bias[width : 2 * width] += 1
    return bias


def _after(
    weight: np.ndarray, bias: np.ndarray, before: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The composition of two affine maps."""
    return weight @ before[0], weight @ before[1] + bias
