"""Losses of Mimi's two sides.

An encoder that learns frozen latents is judged by their squared error. Speech is judged by its
spectra and, later, by a discriminator. Spectral: multi-resolution log-mel L1, log-magnitude L1 of
the lower bins at the long windows (harmonics), and linear magnitude L1 relative to the energy (loud
parts), after Yamamoto et al. 2020 (https://arxiv.org/abs/1910.11480) and Kumar et al. 2023
(https://arxiv.org/abs/2306.06546).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from pocket_tts_jax.config import MimiConfig
from pocket_tts_jax.model.mimi import Mimi, init_decoder_state, init_encoder_state
from pocket_tts_jax.weights.checkpoint import parameter_tree
from training.batches.crops import Batch
from training.data.spectra import FLOOR, magnitudes, mel_filters
from training.loop.initialise import DISCRIMINATOR
from training.loop.trainer import Loss
from training.losses.discriminator import Discriminator, decoder_terms, discriminator_loss

# window, hop, mel bins
RESOLUTIONS = (
    (2048, 512, 160),
    (1024, 256, 80),
    (512, 128, 64),
    (256, 64, 32),
    (128, 32, 16),
)


# Keeps the latents of an encoder that is trained along with its decoder from drifting off.
LATENT_PULL = 1e-3


class Spectral(NamedTuple):
    mel: Array
    low: Array
    linear: Array


class CodecTerms(NamedTuple):
    """The last three are None without a discriminator."""

    mel: Array
    low: Array
    linear: Array
    fooled: Array | None = None
    features: Array | None = None
    discriminator: Array | None = None


def discriminator_tensors(seed: int) -> dict[str, np.ndarray]:
    params = Discriminator().init(jax.random.key(seed), jnp.zeros((1, 8192)))
    flat = flatten_dict(params, sep="/")
    return {DISCRIMINATOR + name: np.asarray(tensor) for name, tensor in flat.items()}


class EncoderTerms(NamedTuple):
    """The first frame counts: recordings are always encoded from a fresh state."""

    error: Array  # squared, of normalised latents: 1 is what a constant would have


def part_loss(part: str, config: MimiConfig, noise: float) -> Loss:
    """The loss of `training.codec --part`."""

    def decoder(params: dict[str, Array], batch: Batch, key: Array) -> tuple[Array, CodecTerms]:
        latents = _noised(jnp.asarray(batch.latents), noise, key)
        return codec_loss(params, latents, jnp.asarray(batch.audio), config)

    def encoder(params: dict[str, Array], batch: Batch, key: Array) -> tuple[Array, EncoderTerms]:
        made, wanted = encode(params, jnp.asarray(batch.audio), config), jnp.asarray(batch.latents)
        error = jnp.square((made - wanted) / wanted.std((0, 1))).mean()
        return error, EncoderTerms(error)

    def both(params: dict[str, Array], batch: Batch, key: Array) -> tuple[Array, CodecTerms]:
        audio = jnp.asarray(batch.audio)
        latents = encode(params, audio, config)
        total, terms = codec_loss(params, _noised(latents, noise, key), audio, config)
        return total + LATENT_PULL * jnp.square(latents).mean(), terms

    return {"decoder": decoder, "encoder": encoder, "both": both}[part]


def _noised(latents: Float[Array, "b n z"], scale: float, key: Array) -> Array:
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

    The first frame counts as well, though it often starts in the middle of speech: a decoder that
    was never judged there clicks at the start of each utterance.
    """
    decoder = {n: t for n, t in params.items() if not n.startswith(DISCRIMINATOR)}
    judge = {n.removeprefix(DISCRIMINATOR): params[n] for n in params.keys() - decoder.keys()}
    state, variables = init_decoder_state(config, len(latents)), {"params": parameter_tree(decoder)}  # pyright: ignore
    decoded, _ = Mimi(config).apply(variables, state, latents, method="decode_step")  # pyright: ignore
    terms = spectral_terms(decoded, audio)
    total = 5 * terms.mel + 1.5 * terms.low + 1.5 * terms.linear
    if not judge:
        return total, CodecTerms(*terms)
    tree = unflatten_dict(judge, sep="/")
    fooled, matched = decoder_terms(jax.lax.stop_gradient(tree), audio, decoded)
    against = discriminator_loss(tree, audio, decoded)
    return total + 0.2 * fooled + 0.5 * matched + against, CodecTerms(
        *terms, fooled, matched, against
    )


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
