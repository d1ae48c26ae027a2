"""The contract of an exported folder: its functions, their inputs and outputs.

FlowLM (`flow_lm.tflite`):
- `embed_text`: token ids to embeddings. `embed_voice`: the encoder's latents to embeddings.
- `prefill_N_cC`: N embeddings in, N new rows of each layer's keys and values out, over caches of
  C slots.
- `decode_S_cC`: the previous latent and noise in, the next latent, the EOS logit, the attention of
  the alignment heads over the cache, and one new row of each layer out, with S evaluations of the
  flow head. `decode_S_cC_bB` does the same for B sequences, each at a position of its own.

The caches `k_i`, `v_i` are inputs that the caller owns; slot p holds position p. The caller writes
the rows that come out, without those of padding, to the slots from `position` on.

Mimi (`mimi_decoder.tflite`, `mimi_encoder.tflite`): `decode_N` and `encode_N` turn N frames into
N · 1920 samples and back. Every other tensor is state, with the same name as input and output, and
zeros at first. `position` counts the transformer's steps before the call.

`docs/contract.md` describes this for readers of an export.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from exporters.graph import functions as graph
from exporters.graph.fold import Tree, flow_steps
from exporters.graph.signature import INT, Signature, Tensor, Weights
from pocket_tts_jax.config import Config, MimiTransformerConfig
from pocket_tts_jax.model.flow_lm import head_shape

PREFILL_LENGTHS = (8, 16, 24, 32, 48, 64)
TEXT_LENGTH = 64  # a chunk has at most 50 tokens; longer texts take more calls
VOICE_LENGTH = 32
DECODER_FRAMES = (1, 2, 4, 8)
# Most chunks fit the first; a step then reads a third of the default cache. Batched steps stop at
# the second: with the largest their caches would be read for longer than the weights.
SHORT_CAPACITIES = (256, 512)
BATCHES = (4, 8)
ENCODER_FRAMES = (8,)


def flow_lm_signatures(
    weights: Tree,
    config: Config,
    heads: graph.Heads,
    capacity: int,
    prefill: Sequence[int] = PREFILL_LENGTHS,
    batches: Sequence[int] = BATCHES,
) -> list[Signature]:
    """Every signature of `flow_lm.tflite`, for caches of up to `capacity` slots."""
    shared = Weights(weights)
    first, *more = flow_steps(config)
    shortest, *longer = sizes = capacities(capacity)
    found = [_embed_text(shared, config), _embed_voice(shared, config)]
    found += [_prefill(shared, config, n, shortest) for n in prefill]
    found += [_prefill(shared, config, max(prefill), c) for c in longer]
    found += [_decode(shared, config, heads, first, c) for c in sizes]
    found += [_decode(shared, config, heads, s, sizes[-1]) for s in more]
    batched = sizes[:-1] or sizes
    return found + [_decode(shared, config, heads, first, c, b) for c in batched for b in batches]


def capacities(largest: int) -> tuple[int, ...]:
    """Slots of the caches with signatures, smallest first."""
    return (*(size for size in SHORT_CAPACITIES if size < largest), largest)


def cache_tensors(
    config: Config, slots: int, suffix: str = "", batch: int = 1
) -> tuple[Tensor, ...]:
    """`k_0, v_0, k_1, …` with the given number of slots."""
    _, kv_heads, head_dim = head_shape(config.flow_lm)
    shape = (batch, kv_heads, slots, head_dim)
    layers = range(config.flow_lm.transformer.num_layers)
    return tuple(Tensor(f"{kind}_{i}{suffix}", shape) for i in layers for kind in "kv")


def _embed_text(weights: Weights, config: Config) -> Signature:
    def function(weights: Tree, tokens: Any) -> tuple:
        text = weights["text"]
        rows = jnp.take(jnp.asarray(text["table"]), tokens[0], axis=0, mode="clip")
        return ((rows if text["proj"] is None else graph.linear(rows, text["proj"]))[None],)

    width = config.flow_lm.transformer.d_model
    return Signature(
        "embed_text",
        function,
        weights,
        (Tensor("tokens", (1, TEXT_LENGTH), INT),),
        (Tensor("embeddings", (1, TEXT_LENGTH, width)),),
    )


def _embed_voice(weights: Weights, config: Config) -> Signature:
    def function(weights: Tree, latents: Any) -> tuple:
        return (graph.linear(latents[0], weights["voice"])[None],)

    return Signature(
        "embed_voice",
        function,
        weights,
        (Tensor("latents", (1, VOICE_LENGTH, config.mimi.encoded_dim)),),
        (Tensor("embeddings", (1, VOICE_LENGTH, config.flow_lm.transformer.d_model)),),
    )


def _prefill(weights: Weights, config: Config, length: int, capacity: int) -> Signature:
    lm = config.flow_lm.transformer

    def function(weights: Tree, embeddings: Any, position: Any, *caches: Any) -> tuple:
        rows = graph.prefill(weights, embeddings[0], position, _paired(caches), lm.max_period)
        return tuple(array for pair in rows for array in pair)

    return Signature(
        f"prefill_{length}_c{capacity}",
        function,
        weights,
        (
            Tensor("embeddings", (1, length, lm.d_model)),
            Tensor("position", (1,)),
            *cache_tensors(config, capacity),
        ),
        cache_tensors(config, length, "_rows"),
    )


def _decode(
    weights: Weights,
    config: Config,
    heads: graph.Heads,
    steps: int,
    capacity: int,
    batch: int = 1,
) -> Signature:
    lm, kind = config.flow_lm.transformer, config.flow_lm.flow.type

    def function(weights: Tree, latent: Any, noise: Any, position: Any, *caches: Any) -> tuple:
        flow = weights["flow"]
        x = graph.linear(latent, weights["audio"])
        x, rows, attention = graph.step(weights, x, position, _paired(caches), lm.max_period, heads)
        hidden = graph.normalise(x, 1e-5, centred=True)
        with jax.named_scope("condition"):
            condition = graph.linear(hidden, *flow["condition"])
        latent = noise
        for offset in flow["offsets"][str(steps)]:
            v = graph.velocity(flow, condition + offset[None], latent)
            latent = v if kind == "drifting" else latent + v * (1 / steps)
        eos = graph.linear(hidden, *weights["eos"])
        return (latent, eos, attention, *(array for pair in rows for array in pair))

    width, name = config.latent_dim, f"decode_{steps}_c{capacity}"
    return Signature(
        name if batch == 1 else f"{name}_b{batch}",
        function,
        weights,
        (
            Tensor("latent", (batch, width)),
            Tensor("noise", (batch, width)),
            Tensor("position", (batch,)),
            *cache_tensors(config, capacity, batch=batch),
        ),
        (
            Tensor("next_latent", (batch, width)),
            Tensor("eos_logit", (batch, 1)),
            Tensor("attention", (batch, len(heads), capacity)),
            *cache_tensors(config, 1, "_rows", batch),
        ),
    )


def decoder_signatures(
    weights: Tree, config: Config, frames: Sequence[int] = DECODER_FRAMES
) -> list[Signature]:
    """Every signature of `mimi_decoder.tflite`: normalised latents in, samples out."""
    mimi = config.mimi
    states = (
        Tensor("upsample", (1, 1, mimi.decoder.dimension)),
        *window_tensors(mimi.decoder_attention),
        *convolution_tensors(weights["convolutions"]),
    )

    def function(weights: Tree, latents: Any, position: Any, *states: Any) -> tuple:
        upsample, windows, histories = _unpack(states, 1, mimi.decoder_attention)
        joined = jnp.concatenate(
            [upsample[0][0], graph.linear(latents[0], *weights["input"])], axis=0
        )
        now, after = weights["upsample"]
        x = joined[1:, None] * now[None] + joined[:-1, None] * after[None]
        x, windows = graph.window_transformer(
            *(weights["transformer"], x.reshape(-1, joined.shape[1]), position, windows),
            mimi.decoder_attention,
        )
        x, histories = _seanet(weights["convolutions"], x, histories)
        audio = x.reshape(1, -1)
        return (audio, joined[-1:][None], *(a for pair in windows for a in pair), *histories)

    shared = Weights(weights)
    return [
        Signature(
            f"decode_{n}",
            function,
            shared,
            (Tensor("latents", (1, n, config.latent_dim)), Tensor("position", (1,)), *states),
            (Tensor("audio", (1, n * mimi.frame_size)), *states),
        )
        for n in frames
    ]


def encoder_signatures(
    weights: Tree, config: Config, frames: Sequence[int] = ENCODER_FRAMES
) -> list[Signature]:
    """Every signature of `mimi_encoder.tflite`: samples in, the latents of a voice out."""
    mimi = config.mimi
    states = (
        *convolution_tensors(weights["convolutions"]),
        *window_tensors(mimi.transformer),
        Tensor("downsample", (1, mimi.steps_per_frame, mimi.seanet.dimension)),
    )

    def function(weights: Tree, audio: Any, position: Any, *states: Any) -> tuple:
        count = len(weights["convolutions"])
        x, histories = _seanet(weights["convolutions"], audio[0][:, None], states[:count])
        _, windows, (previous,) = _unpack(states[count:], 0, mimi.transformer)
        x, windows = graph.window_transformer(
            weights["transformer"], x, position, windows, mimi.transformer
        )
        # The start of a stream is padded with its first sample.
        first = jnp.maximum(1 - position, 0)[:, None]
        history = previous[0] + first * x[:1]
        latents, state = graph.convolution(weights["downsample"], x, history[None])
        return (
            latents[None],
            *histories,
            *(a for pair in windows for a in pair),
            state,
        )

    shared = Weights(weights)
    return [
        Signature(
            f"encode_{n}",
            function,
            shared,
            (Tensor("audio", (1, n * mimi.frame_size)), Tensor("position", (1,)), *states),
            (Tensor("latents", (1, n, mimi.encoded_dim)), *states),
        )
        for n in frames
    ]


def window_tensors(config: MimiTransformerConfig) -> tuple[Tensor, ...]:
    shape = (1, config.num_heads, config.context, config.d_model // config.num_heads)
    layers = range(config.num_layers)
    return tuple(Tensor(f"window_{kind}_{i}", shape) for i in layers for kind in "kv")


def convolution_tensors(layers: Sequence[Tree]) -> tuple[Tensor, ...]:
    """The state of each layer of a SEANet: its last inputs."""
    return tuple(
        Tensor(f"convolution_{i}", (1, w["history"], w["inputs"])) for i, w in enumerate(layers)
    )


def _seanet(layers: Sequence[Tree], x: Any, states: Sequence[Any]) -> tuple[Any, list]:
    histories = []
    for i, (weights, previous) in enumerate(zip(layers, states, strict=True)):
        with jax.named_scope(f"layer_{i}"):
            if i and weights["kind"] != "residual":
                x = graph.elu(x)
            x, history = graph.convolution(weights, x, previous)
        histories.append(history)
    return x, histories


def _paired(arrays: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(arrays[0::2], arrays[1::2], strict=True))


def _unpack(
    states: Sequence[Any], lead: int, config: MimiTransformerConfig
) -> tuple[Sequence[Any], list[tuple[Any, Any]], Sequence[Any]]:
    end = lead + 2 * config.num_layers
    return states[:lead], _paired(states[lead:end]), states[end:]
