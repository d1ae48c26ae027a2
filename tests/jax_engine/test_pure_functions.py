"""The states as JAX sees them: pytrees that are traced, exported and refused when they are full."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.jax_engine.states import voice_state
from pocket_tts_jax.model.flow_lm import FlowLM, init_state
from pocket_tts_jax.model.mimi import Mimi, init_decoder_state, init_encoder_state
from pocket_tts_jax.testing.random_checkpoint import random_tensors
from pocket_tts_jax.testing.tiny_model import tiny_config, tiny_voice
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.checkpoint import parameter_tree

CONFIG = tiny_config()
LM = FlowLM.of(CONFIG)
PARAMS = parameter_tree(random_tensors(CONFIG))
LATENT = jnp.zeros((1, CONFIG.latent_dim))


def step(state, latent=LATENT):
    return LM.apply({"params": PARAMS["flow_lm"]}, state, latent, latent, method="step")


def test_a_voice_is_an_argument_of_jit() -> None:
    voice = tiny_voice(CONFIG)
    traced = jax.jit(voice_state, static_argnums=1)(voice, 16)
    expected = jax.tree.leaves(voice_state(voice, 16))
    assert all(map(np.array_equal, expected, jax.tree.leaves(traced)))
    again = jax.tree.map(lambda x: x, VoiceState(voice.k, voice.v, metadata={"model": "m"}))
    assert again.metadata == {"model": "m"} and again.latents is None
    with pytest.raises(ConfigError, match="5 positions"):
        voice_state(voice, 4)


def _exported(function, *arguments):
    """The function, through the bytes that `jax.export` writes."""
    data = export.export(jax.jit(function))(*arguments).serialize()
    return export.deserialize(bytearray(data)).call


def test_jax_export_takes_states_and_voices() -> None:
    voice = tiny_voice(CONFIG)
    state = voice_state(voice, 16)
    begin = _exported(lambda voice: voice_state(voice, 16), voice)
    output, after = _exported(step, state, LATENT)(begin(voice), LATENT)
    expected, _ = jax.jit(step)(state, LATENT)
    assert np.allclose(output.latent, expected.latent, atol=1e-5)
    assert int(after.position[0]) == voice.length + 1


@pytest.mark.parametrize("method", ["decode_step", "encode_step"])
def test_jax_export_takes_the_states_of_mimi(method: str) -> None:
    mimi, params = Mimi(CONFIG.mimi), {"params": PARAMS["mimi"]}  # pyright: ignore
    decoding = method == "decode_step"
    state = (init_decoder_state if decoding else init_encoder_state)(CONFIG.mimi, 1)
    shape = (1, 1, CONFIG.latent_dim) if decoding else (1, CONFIG.mimi.frame_size)
    run = _exported(lambda s, x: mimi.apply(params, s, x, method=method), state, jnp.ones(shape))
    _, after = run(state, jnp.ones(shape))
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_a_step_beyond_the_capacity_is_refused() -> None:
    state = init_state(CONFIG.flow_lm, 1, 2)
    for _ in range(2):
        _, state = step(state)
    with pytest.raises(ConfigError, match="room for 2 positions"):
        step(state)
