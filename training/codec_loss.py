"""Spectral losses of the waveform decoder.

Multi-resolution log-mel L1, log-magnitude L1 of the lower bins at the long windows (harmonics),
and linear magnitude L1 relative to the energy (loud parts), after Yamamoto et al. 2020
(https://arxiv.org/abs/1910.11480) and Kumar et al. 2023 (https://arxiv.org/abs/2306.06546).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from training.features import FLOOR, magnitudes, mel_filters

# window, hop, mel bins
RESOLUTIONS = (
    (2048, 512, 160),
    (1024, 256, 80),
    (512, 128, 64),
    (256, 64, 32),
    (128, 32, 16),
)


class Spectral(NamedTuple):
    mel: Array
    low: Array
    linear: Array
    adversarial: Array
    features: Array


def spectral_terms(
    predicted: Float[Array, "b samples"], target: Float[Array, "b samples"]
) -> Spectral:
    """Mean over the resolutions of each term (the last two are zero here)."""
    mel, low, linear = jnp.zeros(()), jnp.zeros(()), jnp.zeros(())
    for window, hop, bins in RESOLUTIONS:
        y, x = (magnitudes(a, window, hop) for a in (predicted, jax.lax.stop_gradient(target)))
        filters = mel_filters(bins, window)
        mel += jnp.abs(jnp.log(y @ filters + FLOOR) - jnp.log(x @ filters + FLOOR)).mean()
        if window >= 1024:
            k = window // 6  # up to 4 kHz
            low += jnp.abs(jnp.log(y[..., :k] + FLOOR) - jnp.log(x[..., :k] + FLOOR)).mean()
        linear += jnp.abs(y - x).sum() / (x.sum() + 1e-3)
    n = len(RESOLUTIONS)
    return Spectral(mel / n, low / n, linear / n, jnp.zeros(()), jnp.zeros(()))
