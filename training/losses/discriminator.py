"""A small multi-scale STFT discriminator (Défossez et al. 2022, https://arxiv.org/abs/2210.13438).

Each scale looks at log-magnitudes of one window length through a few strided layers; patches are
judged on their own. Convolutions are products of shifted copies, as in the package: XLA's own are
slow on a CPU in training.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from pocket_tts_jax.model.layers import Linear
from training.data.spectra import FLOOR, magnitudes

WINDOWS = (1024, 512, 256)


class Scale(nn.Module):
    """Scores and inner features of one window length; bands of 16 bins are neighbours."""

    window: int
    width: int = 32

    @nn.compact
    def __call__(
        self, audio: Float[Array, "b samples"]
    ) -> tuple[Float[Array, "b t f"], list[Array]]:
        x = jnp.log(magnitudes(audio, self.window, self.window // 4) + FLOOR)[..., :-1]
        bands = x.shape[-1] // 16
        x = x.reshape(*x.shape[:2], bands, 16)
        place = self.param("band", nn.initializers.normal(0.1), (bands, self.width))
        x = jax.nn.leaky_relu(Linear(self.width, name="input")(x) + place, 0.2)
        features = [x]
        for i in range(3):
            x = _neighbours(x, time_stride=2 if i else 1)
            x = jax.nn.leaky_relu(Linear(self.width, name=f"hidden.{i}")(x), 0.2)
            features.append(x)
        return Linear(1, name="score")(x)[..., 0], features


def _neighbours(x: Float[Array, "b t f c"], time_stride: int) -> Float[Array, "b u f d"]:
    """Each cell with the cells before and after in time and the bands below and above."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    t, f = x.shape[1], x.shape[2]
    cross = ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
    taps = [padded[:, i : i + t, j : j + f] for i, j in cross]
    return jnp.concatenate(taps, axis=-1)[:, ::time_stride]


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, audio: Float[Array, "b samples"]) -> list[tuple[Array, list[Array]]]:
        return [Scale(window, name=f"scale.{window}")(audio) for window in WINDOWS]


def discriminator_loss(params: dict, real: Array, made: Array) -> Array:
    """Hinge loss: real speech above 1, the decoder's below −1."""
    judge = Discriminator()
    total = jnp.zeros(())
    fair: Any = judge.apply(params, real)
    false: Any = judge.apply(params, jax.lax.stop_gradient(made))
    for (good, _), (bad, _) in zip(fair, false, strict=True):
        total += jax.nn.relu(1 - good).mean() + jax.nn.relu(1 + bad).mean()
    return total / len(WINDOWS)


def decoder_terms(params: dict, real: Array, made: Array) -> tuple[Array, Array]:
    """What the decoder gets from it: to be taken for real, and to match its features."""
    judge = Discriminator()
    fooled, matched = jnp.zeros(()), jnp.zeros(())
    fair: Any = judge.apply(params, real)
    false: Any = judge.apply(params, made)
    for (_, wanted), (score, found) in zip(fair, false, strict=True):
        fooled += jax.nn.relu(1 - score).mean()
        for a, b in zip(wanted, found, strict=True):
            a = jax.lax.stop_gradient(a)
            matched += jnp.abs(a - b).mean() / (jnp.abs(a).mean() + 1e-3)
    return fooled / len(WINDOWS), matched / (len(WINDOWS) * 4)
