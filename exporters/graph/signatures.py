"""The contract of an exported folder: which functions it holds, what they take and return.

FlowLM (`flow_lm.tflite`):
- `embed_text`: token ids to embeddings. `embed_voice`: the encoder's latents to embeddings.
- `prefill_N_cC`: N embeddings in, N new rows of each layer's keys and values out, over caches of
  C slots.
- `decode_S_cC`: the previous latent and noise in, the next latent, the EOS logit and one new row
  of each layer out, with S evaluations of the flow head.

The caches `k_i`, `v_i` are inputs that the caller owns; slot p holds position p. The rows that
come out go to the slots from `position` on, of which the caller keeps as many as are not padding.

Mimi (`mimi_decoder.tflite`, `mimi_encoder.tflite`): `decode_N` and `encode_N` turn N frames into
N · 1920 samples and back. Every other tensor is state: it goes in under the name under which it
came out, zeros at first, and `position` counts the transformer's steps before the call.
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
SHORT_CAPACITY = 256  # most chunks fit; a step then reads a third of the default cache
ENCODER_FRAMES = (8,)


def flow_lm_signatures(
    weights: Tree, config: Config, capacity: int, prefill: Sequence[int] = PREFILL_LENGTHS
) -> list[Signature]:
    """Every signature of `flow_lm.tflite`, for caches of up to `capacity` slots."""
    shared = Weights(weights)
    steps, short = flow_steps(config), min(SHORT_CAPACITY, capacity)
    found = [_embed_text(shared, config), _embed_voice(shared, config)]
    found += [_prefill(shared, config, n, short) for n in prefill]
    if capacity > short:
        found.append(_prefill(shared, config, max(prefill), capacity))
        found.append(_decode(shared, config, steps[0], short))
    return found + [_decode(shared, config, s, capacity) for s in steps]


def cache_tensors(config: Config, slots: int, suffix: str = "") -> tuple[Tensor, ...]:
    """`k_0, v_0, k_1, …` with the given number of slots."""
    _, kv_heads, head_dim = head_shape(config.flow_lm)
    shape = (1, kv_heads, slots, head_dim)
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
        paired = _paired(caches)
        _, rows = graph.backbone(
            weights, embeddings[0], position, paired, lm.max_period, rows_only=True
        )
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


def _decode(weights: Weights, config: Config, steps: int, capacity: int) -> Signature:
    lm, kind = config.flow_lm.transformer, config.flow_lm.flow.type

    def function(weights: Tree, latent: Any, noise: Any, position: Any, *caches: Any) -> tuple:
        flow = weights["flow"]
        x = graph.linear(latent, weights["audio"])
        x, rows = graph.backbone(
            weights, x, position, _paired(caches), lm.max_period, rows_only=False
        )
        hidden = graph.normalise(x, 1e-5, centred=True)
        with jax.named_scope("condition"):
            condition = graph.linear(hidden, *flow["condition"])
        latent = noise
        for offset in flow["offsets"][str(steps)]:
            v = graph.velocity(flow, condition + offset[None], latent)
            latent = v if kind == "drifting" else latent + v * (1 / steps)
        eos = graph.linear(hidden, *weights["eos"])
        return (latent, eos, *(array for pair in rows for array in pair))

    width = config.latent_dim
    return Signature(
        f"decode_{steps}_c{capacity}",
        function,
        weights,
        (
            Tensor("latent", (1, width)),
            Tensor("noise", (1, width)),
            Tensor("position", (1,)),
            *cache_tensors(config, capacity),
        ),
        (
            Tensor("next_latent", (1, width)),
            Tensor("eos_logit", (1, 1)),
            *cache_tensors(config, 1, "_rows"),
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
        # A stream starts as if its first sample had always been there.
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
    """The inputs that each layer of a SEANet remembers."""
    return tuple(
        Tensor(f"convolution_{i}", (1, w["history"], graph.inputs_of(w)))
        for i, w in enumerate(layers)
    )


def _seanet(layers: Sequence[Tree], x: Any, states: Sequence[Any]) -> tuple[Any, list]:
    histories = []
    for i, (weights, previous) in enumerate(zip(layers, states, strict=True)):
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
