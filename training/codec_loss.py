"""Losses of Mimi's two sides.

An encoder that learns frozen latents is judged by their squared error. Speech is judged by its
spectra and, later, by a discriminator. Spectral: multi-resolution log-mel L1, log-magnitude L1 of
the lower bins at the long windows (harmonics), and linear magnitude L1 relative to the energy (loud
parts), after Yamamoto et al. 2020 (https://arxiv.org/abs/1910.11480) and Kumar et al. 2023
(https://arxiv.org/abs/2306.06546).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from pocket_tts_jax.checkpoint import parameter_tree
from pocket_tts_jax.config import MimiConfig
from pocket_tts_jax.mimi import Mimi, init_decoder_state, init_encoder_state
from training.crops import Batch
from training.discriminator import Discriminator, decoder_terms, discriminator_loss
from training.features import FLOOR, magnitudes, mel_filters
from training.trainer import Loss

# window, hop, mel bins
RESOLUTIONS = (
    (2048, 512, 160),
    (1024, 256, 80),
    (512, 128, 64),
    (256, 64, 32),
    (128, 32, 16),
)


# How strongly spectra, being taken for real and matched features pull at the samples. With equal
# pulls a few thousand steps of this small discriminator made speech worse (`training.naturalness`).
PULLS = (1.0, 0.25, 0.25)
# Keeps the latents of an encoder that is trained along with its decoder from drifting off.
LATENT_PULL = 1e-3
# Names of the discriminator's tensors start so; they are trained along and never exported.
DISCRIMINATOR = "discriminator/"


class Spectral(NamedTuple):
    mel: Array
    low: Array
    linear: Array


class CodecTerms(NamedTuple):
    mel: Array
    low: Array
    linear: Array
    fooled: Array
    features: Array
    discriminator: Array


def discriminator_tensors(seed: int) -> dict[str, np.ndarray]:
    params = Discriminator().init(jax.random.key(seed), jnp.zeros((1, 8192)))
    flat = flatten_dict(params, sep="/")
    return {DISCRIMINATOR + name: np.asarray(tensor) for name, tensor in flat.items()}


class EncoderTerms(NamedTuple):
    error: Array  # squared, of normalised latents: 1 is what a constant would have


def part_loss(part: str, config: MimiConfig, noise: float) -> Loss:
    """The loss of `training.codec --part`."""

    def decoder(params: dict[str, Array], batch: Batch, key: Array) -> tuple[Array, CodecTerms]:
        scale = noise * jnp.asarray(batch.real)[:, None, None]
        latents = _noised(jnp.asarray(batch.latents), scale, key)
        return codec_loss(params, latents, jnp.asarray(batch.audio), config)

    def encoder(params: dict[str, Array], batch: Batch, key: Array) -> tuple[Array, EncoderTerms]:
        made, wanted = encode(params, jnp.asarray(batch.audio), config), jnp.asarray(batch.latents)
        error = jnp.square((made - wanted)[:, 1:] / wanted.std((0, 1))).mean()
        return error, EncoderTerms(error)

    def both(params: dict[str, Array], batch: Batch, key: Array) -> tuple[Array, CodecTerms]:
        audio = jnp.asarray(batch.audio)
        latents = encode(params, audio, config)
        total, terms = codec_loss(params, _noised(latents, noise, key), audio, config)
        return total + LATENT_PULL * jnp.square(latents).mean(), terms

    return {"decoder": decoder, "encoder": encoder, "both": both}[part]


def _noised(latents: Float[Array, "b n z"], scale: Array | float, key: Array) -> Array:
    """With noise of `scale` times their own spread, which thus cannot be escaped by growing."""
    spread = jax.lax.stop_gradient(latents.std((0, 1)))
    return latents + scale * spread * jax.random.normal(key, latents.shape)


def encode(
    params: dict[str, Array], audio: Float[Array, "b samples"], config: MimiConfig
) -> Float[Array, "b n z"]:
    """Latents of the audio from a fresh state, by the encoder among `params`."""
    tensors = {n: t for n, t in params.items() if not n.startswith(DISCRIMINATOR)}
    state, variables = init_encoder_state(config, len(audio)), {"params": parameter_tree(tensors)}  # pyright: ignore
    latents, _ = Mimi(config).apply(variables, state, audio, method="encode_step")  # pyright: ignore
    return latents


def codec_loss(
    params: dict[str, Array],
    latents: Float[Array, "b n z"],
    audio: Float[Array, "b samples"],
    config: MimiConfig,
) -> tuple[Array, CodecTerms]:
    """Decodes from a fresh state and compares; where `params` hold a discriminator, it is trained
    and listened to in the same step.

    The first frame starts from nothing in the middle of speech: it is not judged.
    """
    decoder = {n: t for n, t in params.items() if not n.startswith(DISCRIMINATOR)}
    judge = {n.removeprefix(DISCRIMINATOR): params[n] for n in params.keys() - decoder.keys()}
    state, variables = init_decoder_state(config, len(latents)), {"params": parameter_tree(decoder)}  # pyright: ignore
    decoded, _ = Mimi(config).apply(variables, state, latents, method="decode_step")  # pyright: ignore
    made, real = decoded[:, config.frame_size :], audio[:, config.frame_size :]
    if not judge:
        total, terms = _spectral_loss(made, real)
        nothing = jnp.zeros(())
        return total, CodecTerms(*terms, nothing, nothing, nothing)
    tree = unflatten_dict(judge, sep="/")
    against = discriminator_loss(tree, real, made)
    pull, terms, fooled, matched = balanced_pull(jax.lax.stop_gradient(tree), real, made)
    return (pull * made).sum() + against, CodecTerms(*terms, fooled, matched, against)


def _spectral_loss(made: Array, real: Array) -> tuple[Array, Spectral]:
    terms = spectral_terms(made, real)
    return 5 * terms.mel + 1.5 * terms.low + 1.5 * terms.linear, terms


def balanced_pull(
    tree: dict, real: Array, made: Array, strengths: Sequence[Array | float] = PULLS
) -> tuple[Array, Spectral, Array, Array]:
    """The direction in which the samples should move, and the terms that say so.

    Each kind of loss pulls as strongly as `strengths` says, whatever its scale (Défossez et al.
    2022): the scales of a discriminator's losses change while it learns.
    """
    made = jax.lax.stop_gradient(made)
    spectral, terms = jax.grad(_spectral_loss, has_aux=True)(made, real)
    (fooled, matched), back = jax.vjp(lambda x: decoder_terms(tree, real, x), made)
    one, zero = jnp.ones(()), jnp.zeros(())
    pulls = (spectral, back((one, zero))[0], back((zero, one))[0])
    size = jnp.linalg.norm(spectral)
    pull = sum(
        (
            w * size / (jnp.linalg.norm(p) + 1e-12) * p
            for w, p in zip(strengths, pulls, strict=True)
        ),
        jnp.zeros_like(made),
    )
    return pull, terms, fooled, matched


def spectral_terms(
    predicted: Float[Array, "b samples"], target: Float[Array, "b samples"]
) -> Spectral:
    """Mean over the resolutions of each term."""
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
    return Spectral(mel / n, low / n, linear / n)
