"""What the streaming loop asks of an engine."""

from typing import NamedTuple, Protocol

import numpy as np

from pocket_tts_jax.config import Config
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState


class Step(NamedTuple):
    """One frame: the latent as the decoder takes it, the logit of "speech ends here", and what the
    alignment heads looked at while it was made: shares of each token of the chunk, at most 1 in
    all."""

    latent: Float[np.ndarray, " z"]
    eos_logit: float
    attention: Float[np.ndarray, "heads tokens"]


class Latents(Protocol):
    """FlowLM after the prefill of one chunk."""

    def step(self, noise: Float[np.ndarray, " z"]) -> Step:
        """The next frame. Noise in, no randomness."""
        ...


class Decoder(Protocol):
    """Mimi's decoder at one place of one chunk."""

    def decode(self, latents: Float[np.ndarray, "n z"]) -> Float[np.ndarray, " samples"]:
        """The samples of the next `n` frames, n one of 1, 2, 4, 8."""
        ...


class Engine(Protocol):
    """One model in memory, ready to speak; sessions share it."""

    @property
    def frame_size(self) -> int: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def latent_dim(self) -> int: ...
    def start(self, voice: VoiceState, prompt: Prompt, flow_steps: int) -> Latents: ...
    def decoder(self) -> Decoder: ...


class EngineSizes:
    """The sizes of an engine that has a configuration."""

    config: Config

    @property
    def frame_size(self) -> int:
        return self.config.mimi.frame_size

    @property
    def sample_rate(self) -> int:
        return self.config.mimi.sample_rate

    @property
    def latent_dim(self) -> int:
        return self.config.latent_dim
