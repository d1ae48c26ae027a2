"""The discriminator of the waveform decoder: spectra at several windows, waves at several periods.

Each scale looks at the STFT of one window length, magnitudes and phases (Défossez et al. 2022,
https://arxiv.org/abs/2210.13438); each period at every p-th sample (Kong et al. 2020,
https://arxiv.org/abs/2010.05646). Both are small, and patches are judged on their own. Convolutions
are products of shifted copies, as in the package: XLA's own are slow on a CPU in training.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from pocket_tts_jax.linear import Linear
from training.features import FLOOR, spectrum

WINDOWS = (1024, 512, 256)
PERIODS = (2, 3, 5, 7, 11)
Judgement = tuple[Array, list[Array]]  # scores, and the features they were made of


class Scale(nn.Module):
    """Of one window length; bands of 16 bins are neighbours."""

    window: int
    width: int = 32

    @nn.compact
    def __call__(self, audio: Float[Array, "b samples"]) -> Judgement:
        x = _compressed(*spectrum(audio, self.window, self.window // 4))[..., :-1, :]
        bands = x.shape[2] // 16
        x = x.reshape(*x.shape[:2], bands, -1)
        place = self.param("band", nn.initializers.normal(0.1), (bands, self.width))
        x = jax.nn.leaky_relu(Linear(self.width, name="input")(x) + place, 0.2)
        features = [x]
        for i in range(3):
            x = _neighbours(x, time_stride=2)
            x = jax.nn.leaky_relu(Linear(self.width, name=f"hidden.{i}")(x), 0.2)
            features.append(x)
        return Linear(1, name="score")(x)[..., 0], features


class Period(nn.Module):
    """Of the samples that lie a period apart."""

    period: int
    widths: tuple[int, ...] = (8, 16, 32, 64)

    @nn.compact
    def __call__(self, audio: Float[Array, "b samples"]) -> Judgement:
        count = audio.shape[1] // self.period
        x = audio[:, : count * self.period].reshape(len(audio), count, self.period, 1)
        features = []
        for i, width in enumerate(self.widths):
            x = jax.nn.leaky_relu(Linear(width, name=f"hidden.{i}")(_strided(x, 5, 3)), 0.2)
            features.append(x)
        return Linear(1, name="score")(_strided(x, 3, 1))[..., 0], features


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, audio: Float[Array, "b samples"]) -> list[Judgement]:
        scales = [Scale(window, name=f"scale.{window}")(audio) for window in WINDOWS]
        return scales + [Period(period, name=f"period.{period}")(audio) for period in PERIODS]


def _compressed(real: Array, imaginary: Array) -> Float[Array, "b t f 3"]:
    """Logarithm of the magnitude, and the phase weighted by its 0.3rd power."""
    magnitude = jnp.sqrt(jnp.square(real) + jnp.square(imaginary) + 1e-9)
    flat = (magnitude + FLOOR) ** -0.7
    return jnp.stack([jnp.log(magnitude + FLOOR), real * flat, imaginary * flat], axis=-1)


def _neighbours(x: Float[Array, "b t f c"], time_stride: int) -> Float[Array, "b u f d"]:
    """Each cell with the cells before and after in time and the bands below and above."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    t, f = x.shape[1], x.shape[2]
    cross = ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))
    taps = [padded[:, i : i + t, j : j + f] for i, j in cross]
    return jnp.concatenate(taps, axis=-1)[:, ::time_stride]


def _strided(x: Float[Array, "b t p c"], kernel: int, stride: int) -> Float[Array, "b u p d"]:
    """The `kernel` rows around every `stride`-th, side by side."""
    t, margin = x.shape[1], kernel // 2
    padded = jnp.pad(x, ((0, 0), (margin, margin), (0, 0), (0, 0)))
    return jnp.concatenate([padded[:, i : i + t : stride] for i in range(kernel)], axis=-1)


def discriminator_loss(params: dict, real: Array, made: Array) -> Array:
    """Hinge loss: real speech above 1, the decoder's below −1."""
    judge = Discriminator()
    fair: Any = judge.apply(params, real)
    false: Any = judge.apply(params, jax.lax.stop_gradient(made))
    losses = [
        jax.nn.relu(1 - good).mean() + jax.nn.relu(1 + bad).mean()
        for (good, _), (bad, _) in zip(fair, false, strict=True)
    ]
    return jnp.stack(losses).mean()


def decoder_terms(params: dict, real: Array, made: Array) -> tuple[Array, Array]:
    """What the decoder gets from it: to be taken for real, and to match its features."""
    judge = Discriminator()
    fair: Any = judge.apply(params, jax.lax.stop_gradient(real))
    false: Any = judge.apply(params, made)
    fooled = [-score.mean() for score, _ in false]
    matched = [
        jnp.abs(a - b).mean() / (jnp.abs(a).mean() + 1e-3)
        for (_, wanted), (_, found) in zip(fair, false, strict=True)
        for a, b in zip(wanted, found, strict=True)
    ]
    return jnp.stack(fooled).mean(), jnp.stack(matched).mean()
