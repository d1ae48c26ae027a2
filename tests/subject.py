"""Our model with given tensors, run the way `tests.reference` runs the reference.

The functional API is used directly. Audio and latents are taken in pieces of one length, so that
what is compiled for one run serves all runs of the same architecture, however long.
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

from pocket_tts_jax.config import (
    Config,
    FlowLMConfig,
    MimiConfig,
    available_configs,
    load_config,
    packaged_config,
)
from pocket_tts_jax.model.flow_lm import FlowLM, FlowLMState, StepOutput, init_state
from pocket_tts_jax.model.mimi import Mimi, init_decoder_state, init_encoder_state
from pocket_tts_jax.weights.checkpoint import parameter_tree

DECODED_AT_ONCE = 5  # frames; the windows of 50 and 250 steps take 16 a frame
STEPS_AT_ONCE = 10


@functools.cache
def architectures() -> dict[str, str]:
    """For each published configuration, the first that has the same architecture, English before
    other languages. Those of an architecture differ in weights, text and tokenizer only."""
    names = sorted(available_configs(), key=lambda name: not name.startswith("english"))
    first: dict[tuple[FlowLM, MimiConfig], str] = {}
    return {
        name: first.setdefault(_networks(load_config(packaged_config(name))), name)
        for name in names
    }


class Subject:
    def __init__(self, config: Config, tensors: dict[str, np.ndarray]):
        tree = parameter_tree(tensors)
        self.flow_lm, mimi = _networks(config)
        self.mimi = Mimi(mimi)
        self.lm_params = {"params": jax.tree.map(jnp.asarray, tree["flow_lm"])}
        self.mimi_params = {"params": jax.tree.map(jnp.asarray, tree["mimi"])}

    def encode(self, audio: Float[np.ndarray, " n"]) -> Float[np.ndarray, "frames encoded"]:
        """Frame by frame, the last one completed with silence."""
        size = self.mimi.config.frame_size
        frames = -(-len(audio) // size)
        padded = np.pad(audio, (0, frames * size - len(audio))).reshape(frames, 1, size)
        state, encoded = init_encoder_state(self.mimi.config, 1), []
        for frame in padded:
            latent, state = _encode(self.mimi, self.mimi_params, state, frame)
            encoded.append(latent)
        return np.stack(encoded)

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
        row 1 its own. `state` has room for all steps."""
        bos = np.asarray(self.lm_params["params"]["bos_emb"])[None]
        steps = len(given)
        missing = ((0, -steps % STEPS_AT_ONCE), (0, 0))
        told, drawn = np.pad(np.concatenate([bos, given[:-1]]), missing), np.pad(noise, missing)
        own, outputs = bos[0], []
        for start in range(0, len(told), STEPS_AT_ONCE):
            now = slice(start, start + STEPS_AT_ONCE)
            output, own, state = _run(
                self.flow_lm, self.lm_params, state, own, told[now], drawn[now]
            )
            outputs.append(output)
        latents = np.concatenate([output.latent for output in outputs])[:steps]
        logits = np.concatenate([output.eos_logit for output in outputs])[:steps]
        return latents.swapaxes(0, 1), logits.swapaxes(0, 1)

    def decode(self, latents: Float[np.ndarray, "steps z"]) -> Float[np.ndarray, " samples"]:
        frames = len(latents)
        missing = -frames % DECODED_AT_ONCE  # the decoder is causal: what follows changes nothing
        padded = np.pad(latents, ((0, missing), (0, 0)))[None]
        raw = self.flow_lm.apply(self.lm_params, padded, method="denormalise")
        state, pieces = init_decoder_state(self.mimi.config, 1), []
        for piece in np.split(np.asarray(raw), padded.shape[1] // DECODED_AT_ONCE, axis=1):
            audio, state = _decode(self.mimi, self.mimi_params, state, piece)
            pieces.append(audio[0])
        return np.concatenate(pieces)[: frames * self.mimi.config.frame_size]


def _networks(config: Config) -> tuple[FlowLM, MimiConfig]:
    """Without paths: equal architectures are equal, and share their compiled functions."""
    lm: FlowLMConfig = config.flow_lm
    table = dataclasses.replace(lm.lookup_table, tokenizer="", tokenizer_path="")
    lm = dataclasses.replace(lm, lookup_table=table, weights_path=None)
    mimi: MimiConfig = dataclasses.replace(config.mimi, weights_path=None)
    return FlowLM.of(dataclasses.replace(config, flow_lm=lm)), mimi


@functools.partial(jax.jit, static_argnums=0)
def _encode(mimi: Mimi, params: Any, state: Any, frame: jax.Array) -> tuple[jax.Array, Any]:
    latents, state = mimi.apply(params, state, frame, method="encode_step")
    return latents[0, 0], state


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
    lm: FlowLM, params: Any, state: FlowLMState, own: jax.Array, told: jax.Array, noise: jax.Array
) -> tuple[StepOutput, jax.Array, FlowLMState]:
    def step(carry: tuple[jax.Array, FlowLMState], now: tuple[jax.Array, jax.Array]) -> Any:
        own, state = carry
        told, drawn = now
        latent = jnp.stack([told, own])
        drawn = jnp.broadcast_to(drawn[None], latent.shape)
        output, state = lm.apply(params, state, latent, drawn, method="step")
        return (output.latent[1], state), output

    (own, state), output = jax.lax.scan(step, (own, state), (told, noise))
    return output, own, state


@functools.partial(jax.jit, static_argnums=0)
def _decode(mimi: Mimi, params: Any, state: Any, raw: jax.Array) -> tuple[jax.Array, Any]:
    return mimi.apply(params, state, raw, method="decode_step")
