"""The options of one generation, the same for every engine."""

import math
from dataclasses import dataclass

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.generation.noise import chunk_key


@dataclass(frozen=True)
class Sampling:
    """How latents are drawn. `temperature` is the variance of the noise, `noise_clamp` its limit
    in the same units; `frames_after_eos` None takes each prompt's own."""

    seed: int
    temperature: float
    eos_threshold: float
    noise_clamp: float | None = None
    frames_after_eos: int | None = None
    flow_steps: int = 1

    def __post_init__(self) -> None:
        chunk_key(self.seed, 0)  # refuses a seed out of range before anything is spoken
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ConfigError(f"temperature must be 0 or more, got {self.temperature}")
        if not math.isfinite(self.eos_threshold):
            raise ConfigError(f"eos_threshold must be a finite number, got {self.eos_threshold}")
        if self.noise_clamp is not None and not self.noise_clamp > 0:
            raise ConfigError(f"noise_clamp must be above 0 or None, got {self.noise_clamp}")
        if self.frames_after_eos is not None and self.frames_after_eos < 0:
            raise ConfigError(f"frames_after_eos must be 0 or more, got {self.frames_after_eos}")
        if self.flow_steps < 1:
            raise ConfigError(f"sampler_decode_steps must be 1 or more, got {self.flow_steps}")
