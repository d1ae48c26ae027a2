"""States of FlowLM that begin with a voice, and voices as pytrees."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.jax_engine.sizes import CAPACITY_STEP
from pocket_tts_jax.model import flow_lm
from pocket_tts_jax.model.flow_lm import FlowLMState
from pocket_tts_jax.voice.state import VoiceState


def voice_state(voice: VoiceState, capacity: int) -> FlowLMState:
    """A fresh state of batch 1 that begins with the voice.

    Can be traced: `VoiceState` is a pytree, so that a voice can be an argument of a `jit`.
    ConfigError where the voice is longer than `capacity`.
    """
    if voice.length > capacity:
        raise ConfigError(f"The voice has {voice.length} positions: capacity is {capacity}.")
    room = ((0, 0), (0, 0), (0, capacity - voice.length), (0, 0))
    # NumPy for arrays: JAX would compile its padding again for every length of a voice.
    pad = jnp.pad if isinstance(voice.k, jax.Array) else np.pad
    k, v = (pad(rows, room) for rows in (voice.k, voice.v))
    caches = (
        flow_lm.KVCache(jnp.asarray(k[layer][None]), jnp.asarray(v[layer][None]))
        for layer in range(voice.k.shape[0])
    )
    return FlowLMState(tuple(caches), jnp.full((1,), voice.length, jnp.int32))


def _flatten_voice(voice: VoiceState) -> tuple[tuple[Any, ...], tuple[tuple[str, str], ...]]:
    return (voice.k, voice.v, voice.latents), tuple(sorted(voice.metadata.items()))


def _unflatten_voice(metadata: tuple[tuple[str, str], ...], parts: Any) -> VoiceState:
    """Without the checks of a voice that a user makes: parts may be tracers, or anything else
    that JAX puts into trees."""
    voice = object.__new__(VoiceState)
    for name, value in zip(("k", "v", "latents"), parts, strict=True):
        object.__setattr__(voice, name, value)
    object.__setattr__(voice, "metadata", dict(metadata))
    return voice


jax.tree_util.register_pytree_node(VoiceState, _flatten_voice, _unflatten_voice)
jax_export.register_pytree_node_serialization(
    VoiceState,
    serialized_name="pocket_tts_jax.VoiceState",
    serialize_auxdata=lambda metadata: json.dumps(metadata).encode(),
    deserialize_auxdata=lambda data: tuple((k, v) for k, v in json.loads(data.decode())),
)


@jax.jit
def grow(state: FlowLMState) -> FlowLMState:
    """Add room for `CAPACITY_STEP` positions."""
    room = ((0, 0), (0, 0), (0, CAPACITY_STEP), (0, 0))
    layers = jax.tree.map(lambda slots: jnp.pad(slots, room), state.layers)
    return FlowLMState(layers, state.position)
