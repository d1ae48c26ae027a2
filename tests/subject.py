"""Our model with given tensors, run the way `tests.reference` runs the reference.

The functional API is used directly: whole runs are one `lax.scan` of `FlowLM.step`.
"""

# pyright: reportAttributeAccessIssue=false, reportReturnType=false, reportArgumentType=false
# Flax types the result of `apply` as a union with its variables.

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from pocket_tts_jax.config import Config, FlowLMConfig, MimiConfig
from pocket_tts_jax.model.flow_lm import FlowLM, FlowLMState, StepOutput, init_state
from pocket_tts_jax.model.mimi import Mimi, init_decoder_state, init_encoder_state
from pocket_tts_jax.weights.checkpoint import parameter_tree

DECODED_AT_ONCE = 5  # frames; the windows of 50 and 250 steps take 16 a frame


class Subject:
    def __init__(self, config: Config, tensors: dict[str, np.ndarray]):
        config = _without_paths(config)  # equal architectures then share their compiled functions
        tree = parameter_tree(tensors)
        self.flow_lm = FlowLM.of(config)
        self.mimi = Mimi(config.mimi)
        self.lm_params = {"params": jax.tree.map(jnp.asarray, tree["flow_lm"])}
        self.mimi_params = {"params": jax.tree.map(jnp.asarray, tree["mimi"])}

    def encode(self, audio: Float[np.ndarray, " n"]) -> Float[np.ndarray, "frames encoded"]:
        """Frame by frame, the last one completed with silence."""
        size = self.mimi.config.frame_size
        frames = -(-len(audio) // size)
        padded = np.pad(audio, (0, frames * size - len(audio))).reshape(frames, 1, size)
        return np.asarray(_encode(self.mimi, self.mimi_params, padded))

    def voice(self, audio: Float[np.ndarray, " n"]) -> FlowLMState:
        encoded = self.encode(audio)[None]
        return _read_voice(self.flow_lm, self.lm_params, encoded)

    def prefix(
        self, audio: Float[np.ndarray, " n"], tokens: Int[np.ndarray, " t"], rows: int, room: int
    ) -> FlowLMState:
        """`rows` equal states that have read the voice and the text, with `room` for more."""
        encoded = self.encode(audio)[None]
        return _read_prefix(self.flow_lm, rows, room, self.lm_params, encoded, tokens[None])

    def run(
        self,
        state: FlowLMState,
        given: Float[np.ndarray, "steps z"],
        noise: Float[np.ndarray, "steps z"],
    ) -> tuple[np.ndarray, np.ndarray]:
        """(latents [2, steps, z], EOS logits [2, steps]): row 0 reads the `given` latents,
        row 1 its own."""
        output = _run(self.flow_lm, self.lm_params, state, given, noise)
        return np.asarray(output.latent), np.asarray(output.eos_logit)

    def decode(self, latents: Float[np.ndarray, "steps z"]) -> Float[np.ndarray, " samples"]:
        frames = len(latents)
        missing = -frames % DECODED_AT_ONCE  # the decoder is causal: what follows changes nothing
        padded = np.pad(latents, ((0, missing), (0, 0))).reshape(-1, 1, DECODED_AT_ONCE, 32)
        audio = _decode(self.flow_lm, self.mimi, self.lm_params, self.mimi_params, padded)
        return np.asarray(audio)[: frames * self.mimi.config.frame_size]


def _without_paths(config: Config) -> Config:
    lm: FlowLMConfig = config.flow_lm
    table = dataclasses.replace(lm.lookup_table, tokenizer="", tokenizer_path="")
    lm = dataclasses.replace(lm, lookup_table=table, weights_path=None)
    mimi: MimiConfig = dataclasses.replace(config.mimi, weights_path=None)
    return dataclasses.replace(config, flow_lm=lm, mimi=mimi)


@functools.partial(jax.jit, static_argnums=0)
def _encode(mimi: Mimi, params: Any, audio: jax.Array) -> jax.Array:
    def step(state: Any, frame: jax.Array) -> tuple[Any, jax.Array]:
        latents, state = mimi.apply(params, state, frame, method="encode_step")
        return state, latents[0, 0]

    return jax.lax.scan(step, init_encoder_state(mimi.config, 1), audio)[1]


@functools.partial(jax.jit, static_argnums=0)
def _read_voice(lm: FlowLM, params: Any, encoded: jax.Array) -> FlowLMState:
    voice = lm.apply(params, encoded, method="embed_voice")
    length = jnp.full((1,), voice.shape[1], jnp.int32)
    return lm.apply(
        params, init_state(lm.config, 1, voice.shape[1]), voice, length, method="prefill"
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _read_prefix(
    lm: FlowLM, rows: int, room: int, params: Any, encoded: jax.Array, tokens: jax.Array
) -> FlowLMState:
    voice = lm.apply(params, encoded, method="embed_voice")
    text = lm.apply(params, tokens, method="embed_text")
    state = init_state(lm.config, 1, voice.shape[1] + text.shape[1] + room)
    for part in (voice, text):
        length = jnp.full((1,), part.shape[1], jnp.int32)
        state = lm.apply(params, state, part, length, method="prefill")
    return jax.tree.map(lambda x: jnp.repeat(x, rows, axis=0), state)


@functools.partial(jax.jit, static_argnums=0)
def _run(
    lm: FlowLM, params: Any, state: FlowLMState, given: jax.Array, noise: jax.Array
) -> StepOutput:
    bos = params["params"]["bos_emb"][None]
    history = jnp.concatenate([bos, given[:-1]])

    def step(carry: tuple[jax.Array, FlowLMState], now: tuple[jax.Array, jax.Array]) -> Any:
        own, state = carry
        told, drawn = now
        latent = jnp.stack([told, own])
        drawn = jnp.broadcast_to(drawn[None], latent.shape)
        output, state = lm.apply(params, state, latent, drawn, method="step")
        return (output.latent[1], state), output

    _, output = jax.lax.scan(step, (bos[0], state), (history, noise))
    return jax.tree.map(lambda x: x.swapaxes(0, 1), output)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _decode(
    lm: FlowLM, mimi: Mimi, lm_params: Any, mimi_params: Any, latents: jax.Array
) -> jax.Array:
    def step(state: Any, piece: jax.Array) -> tuple[Any, jax.Array]:
        raw = lm.apply(lm_params, piece, method="denormalise")
        audio, state = mimi.apply(mimi_params, state, raw, method="decode_step")
        return state, audio[0]

    return jax.lax.scan(step, init_decoder_state(mimi.config, 1), latents)[1].reshape(-1)
