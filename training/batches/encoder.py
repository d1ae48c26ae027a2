"""Mimi's encoder on whole utterances."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.model.mimi import Mimi, init_encoder_state
from pocket_tts_jax.weights.checkpoint import parameter_tree
from training.loop.initialise import ENCODER

ROUND = 16  # frames to which utterances are padded, so that few lengths are compiled


def check_encoder(config: Config) -> None:
    """ConfigError unless the encoder makes the latents that the decoder reads."""
    mimi = config.mimi
    if mimi.encoded_dim != config.latent_dim:
        raise ConfigError(
            f"This configuration's encoder makes {mimi.encoded_dim} numbers a frame, its decoder "
            f"reads {config.latent_dim}. Use one whose mimi.inner_dim is what the decoder reads."
        )


class Encoder:
    """Utterances to latents, each from a fresh state; `tensors` are Mimi's by name."""

    def __init__(self, config: Config, tensors: dict[str, np.ndarray]) -> None:
        check_encoder(config)
        self.tensors = {n: t for n, t in tensors.items() if n.startswith(ENCODER)}
        on_device = {n: jnp.asarray(t) for n, t in self.tensors.items()}
        self._variables = {"params": parameter_tree(on_device)}
        self._frame_size, mimi = config.mimi.frame_size, Mimi(config.mimi)
        state = init_encoder_state(config.mimi, 1)
        self._step = jax.jit(lambda v, x: mimi.apply(v, state, x, method="encode_step"))

    def __call__(self, audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "n z"]:
        """Latents of whole frames; the encoder is causal, so what is padded changes nothing."""
        frames = len(audio) // self._frame_size
        padded = np.pad(audio, (0, -frames % ROUND * self._frame_size))
        latents, _ = self._step(self._variables, padded[None])  # pyright: ignore
        return np.asarray(latents)[0, :frames]
