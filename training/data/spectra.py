"""Spectral features: log-mel in NumPy for the latents, differentiable spectra in JAX for losses."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SAMPLE_RATE = 24_000
FRAME = 1920  # samples per latent
MEL_HOP = 240  # 100 Hz: 8 mel frames per latent
MEL_BINS = 80
MEL_WINDOW = 1024
MELS_PER_FRAME = FRAME // MEL_HOP
FLOOR = 1e-4


def mel_filters(bins: int, window: int) -> Float[np.ndarray, "f bins"]:
    """Triangular filters from 0 to 12 kHz, evenly spaced in mel, each summing to one."""

    def to_mel(hz: np.ndarray) -> np.ndarray:
        return 2595 * np.log10(1 + hz / 700)

    def to_hz(mel: np.ndarray) -> np.ndarray:
        return 700 * (10 ** (mel / 2595) - 1)

    top = to_mel(np.array(SAMPLE_RATE / 2))
    edges = to_hz(np.linspace(0, top, bins + 2))
    width = SAMPLE_RATE / window
    frequencies = np.arange(window // 2 + 1)[:, None] * width
    low = np.minimum(edges[:-2], edges[1:-1] - width)  # at least one bin wide
    high = np.maximum(edges[2:], edges[1:-1] + width)
    rising = (frequencies - low) / (edges[1:-1] - low)
    falling = (high - frequencies) / (high - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling))
    return (filters / np.maximum(filters.sum(0), 1e-6)).astype(np.float32)


def hann(window: int) -> Float[np.ndarray, " window"]:
    """Periodic Hann window scaled so that a full-scale sine has magnitude one."""
    shape = np.hanning(window + 1)[:-1].astype(np.float32)
    return shape * (2 / shape.sum())


def log_mel(audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "t 80"]:
    """Log-mel at 100 Hz of whole frames; row i is centred on sample 240·i + 120."""
    count = len(audio) // MEL_HOP
    padding = (MEL_WINDOW - MEL_HOP) // 2
    padded = np.pad(audio, (padding, padding))
    frames = np.lib.stride_tricks.sliding_window_view(padded, MEL_WINDOW)[::MEL_HOP]
    filters, window = mel_filters(MEL_BINS, MEL_WINDOW), hann(MEL_WINDOW)
    rows = []
    for start in range(0, count, 4096):
        spectrum = np.fft.rfft(frames[start : min(count, start + 4096)] * window, axis=-1)
        rows.append(np.log(np.abs(spectrum).astype(np.float32) @ filters + FLOOR))
    return np.concatenate(rows)


def magnitudes(audio: Float[Array, "b samples"], window: int, hop: int) -> Float[Array, "b t f"]:
    """STFT magnitudes of centred windows. Frames are joined from shifted hop-sized blocks,
    because a gather is slow on a CPU; `hop` must divide `window`."""
    tail = -audio.shape[1] % hop
    padded = jnp.pad(audio, ((0, 0), (window // 2, window // 2 + tail)))
    blocks = padded.reshape(len(padded), -1, hop)
    overlap = window // hop
    count = blocks.shape[1] - overlap + 1
    frames = jnp.concatenate([blocks[:, j : j + count] for j in range(overlap)], axis=-1)
    spectrum = jnp.fft.rfft(frames * hann(window), axis=-1)
    return jnp.sqrt(jnp.square(spectrum.real) + jnp.square(spectrum.imag) + 1e-9)
