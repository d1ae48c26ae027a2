"""Recordings in: any common file, bytes or array becomes mono float32 samples.

soundfile (libsndfile) decodes WAV (8 to 32 bit, float, µ-law, A-law, extensible), FLAC, MP3, OGG
and what else it knows; soxr changes the sampling rate.
"""

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pocket_tts_jax.errors import AudioError, AudioNotFound
from pocket_tts_jax.shapes import Float

AudioSource = str | Path | bytes | BinaryIO | tuple[np.ndarray, int]
"""A local path, the bytes of a file, an open binary file, or (samples, rate)."""

LOWEST_RATE = 8000
_FORMATS = "WAV, FLAC, MP3 or OGG"
_MOST_CHANNELS = 32


def read_audio(source: AudioSource) -> tuple[Float[np.ndarray, " n"], int]:
    """Samples, full scale ±1, and sampling rate in Hz; channels are averaged.

    Arrays are [n], [n, channels] or [channels, n] (the shorter axis is the channels); integers are
    scaled by their type's full scale. Raises AudioError for what is missing, unreadable, empty,
    not finite, or below 8 kHz.
    """
    if isinstance(source, tuple):
        samples, rate = _from_array(*source)
        name = "the array"
    else:
        samples, rate = _decode(source)
        name = _name(source)
    if samples.size == 0:
        raise AudioError(f"There are no samples in {name}: give a recording of a few seconds.")
    if not np.isfinite(samples).all():
        raise AudioError(f"There is NaN or infinity among the samples of {name}: export it again.")
    if rate < LOWEST_RATE:
        raise AudioError(
            f"{name} has {rate} samples a second; a voice needs at least {LOWEST_RATE}, better "
            "24000."
        )
    return np.ascontiguousarray(samples, np.float32), int(rate)


def resample(samples: Float[np.ndarray, " n"], rate: int, new_rate: int) -> Float[np.ndarray, " m"]:
    """`samples` at `new_rate` Hz, ceil(n * new_rate / rate) of them up to rounding.

    soxr's high quality (linear phase, passband to 0.91 of the lower Nyquist frequency). The
    reference uses SciPy's polyphase filter, whose transition is slower: for speech the two
    differ by 40 to 60 dB below the signal, nearly all of it in the top tenth of the band.
    """
    if rate == new_rate:
        return samples
    import soxr

    return soxr.resample(samples, rate, new_rate, quality="HQ")


def _name(source: str | Path | bytes | BinaryIO) -> str:
    return str(source) if isinstance(source, str | Path) else "the recording"


def _decode(source: str | Path | bytes | BinaryIO) -> tuple[np.ndarray, int]:
    import soundfile

    name = _name(source)
    if isinstance(source, str | Path):
        file = _existing(Path(source))
    elif isinstance(source, bytes):
        file = io.BytesIO(source)
    else:
        # Read whole: decoders jump about in a file, which a pipe or a socket cannot.
        data = source.read() if hasattr(source, "read") else None
        if not isinstance(data, bytes):
            raise AudioError(
                f"A recording cannot be read from {type(source).__name__}: give a path, bytes, a "
                "file opened in binary mode, or (samples, rate)."
            )
        file = io.BytesIO(data)
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise AudioError(
            f"{name} cannot be read as audio ({error}). Give a {_FORMATS} file; others can be "
            "converted first, for instance with `ffmpeg -i FILE -ar 24000 -ac 1 voice.wav`."
        ) from error
    return samples.mean(axis=1), rate


def _existing(given: Path) -> str:
    try:
        path = given.expanduser()
        if path.is_file():
            return str(path)
        error, what = AudioNotFound, "does not exist"
        if path.exists():
            error, what = AudioError, "is a folder" if path.is_dir() else "is no file"
    except (OSError, RuntimeError) as cause:  # a name that is too long, a ~user that is unknown
        error, what = AudioError, f"cannot be opened ({cause})"
    raise error(f"{given} {what}: give the path of a recording ({_FORMATS}).")


def _is_whole(rate: object) -> bool:
    try:
        return not isinstance(rate, bool) and int(rate) == rate  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return False


def _from_array(samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    samples = np.asarray(samples)
    if not _is_whole(rate):
        raise AudioError(f"The sampling rate must be a whole number of Hz, got {rate!r}.")
    if samples.ndim == 2:
        channels = min(samples.shape)
        if samples.shape[0] == samples.shape[1] or channels > _MOST_CHANNELS:
            raise AudioError(
                f"Which axis of {samples.shape} holds the channels cannot be told: give a mono "
                "array [n]."
            )
    elif samples.ndim != 1:
        raise AudioError(f"Expected samples [n] or [n, channels], got the shape {samples.shape}.")
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128.0) / 128.0
    elif np.issubdtype(samples.dtype, np.signedinteger):
        samples = (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    elif np.issubdtype(samples.dtype, np.floating):
        samples = samples.astype(np.float32)
    else:
        raise AudioError(f"Expected float or integer samples, got {samples.dtype}.")
    if samples.ndim == 2:
        samples = samples.mean(axis=int(np.argmin(samples.shape)), dtype=np.float32)
    return samples, int(rate)
