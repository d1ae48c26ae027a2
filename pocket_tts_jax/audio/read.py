"""Recordings in: any common file, bytes or array becomes mono float32 samples.

soundfile (libsndfile) decodes WAV (8 to 32 bit, float, µ-law, A-law, extensible), FLAC, MP3, OGG
and what else it knows; soxr changes the sampling rate. A recording is decoded in blocks up to a
limit: a damaged header can promise more samples than any memory holds.
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
LONGEST_SECONDS = 3600.0
LARGEST_BYTES = 1 << 30  # of a file that is read from a pipe
_HIGHEST_RATE = 768_000
_BLOCK = 1 << 20  # samples decoded at once, over all channels
_FORMATS = "WAV, FLAC, MP3 or OGG"
_MOST_CHANNELS = 32


def read_audio(source: AudioSource) -> tuple[Float[np.ndarray, " n"], int]:
    """Samples, full scale ±1, and sampling rate in Hz; channels are averaged.

    Arrays are [n] or [channels, n]; integers are scaled by their type's full scale. A path may be
    that of a pipe. Raises AudioError for what is missing, unreadable, empty, not finite, below
    8 kHz, or longer than an hour.
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
    name = _name(source)
    if isinstance(source, str | Path):
        return _decode_path(_existing(Path(source)), name)
    if isinstance(source, bytes):
        return _decode_blocks(io.BytesIO(source), name)
    if not hasattr(source, "read"):
        raise _not_binary(source)
    return _decode_blocks(_read_whole(source, name), name)


def _decode_path(path: Path, name: str) -> tuple[np.ndarray, int]:
    try:
        if path.is_file():
            return _decode_blocks(str(path), name)
        with open(path, "rb") as file:
            return _decode_blocks(_read_whole(file, name), name)
    except OSError as error:
        raise _unreadable(name, error) from error


def _read_whole(file: BinaryIO, name: str) -> io.BytesIO:
    """All of a file: decoders jump about in it, which a pipe or a socket cannot."""
    data = file.read(LARGEST_BYTES + 1)
    if not isinstance(data, bytes):
        raise _not_binary(file)
    if len(data) > LARGEST_BYTES:
        raise AudioError(f"{name} has more than {LARGEST_BYTES >> 20} MiB: give a shorter one.")
    return io.BytesIO(data)


def _decode_blocks(file: str | io.BytesIO, name: str) -> tuple[np.ndarray, int]:
    """The mean of the channels, and the rate. The promised length is never believed."""
    import soundfile

    blocks: list[np.ndarray] = []
    try:
        with soundfile.SoundFile(file) as sound:
            rate = sound.samplerate
            if not 0 < rate <= _HIGHEST_RATE:
                raise ValueError(f"{rate} samples a second")
            left = int(LONGEST_SECONDS * rate)
            at_once = max(1, _BLOCK // sound.channels)
            while (block := sound.read(at_once, dtype="float32", always_2d=True)).size:
                blocks.append(block.mean(axis=1))
                left -= block.shape[0]
                if left < 0:
                    raise AudioError(
                        f"{name} has more than {LONGEST_SECONDS / 60:.0f} minutes: cut it down to "
                        "a few seconds of speech."
                    )
    except AudioError:
        raise
    except Exception as error:  # whatever libsndfile and its wrapper make of a damaged file
        raise _unreadable(name, error) from error
    return np.concatenate(blocks or [np.zeros(0, np.float32)]), rate


def _unreadable(name: str, error: Exception) -> AudioError:
    return AudioError(
        f"{name} cannot be read as audio ({error}). Give a {_FORMATS} file; others can be "
        "converted first, for instance with `ffmpeg -i FILE -ar 24000 -ac 1 voice.wav`."
    )


def _not_binary(source: object) -> AudioError:
    return AudioError(
        f"A recording cannot be read from {type(source).__name__}: give a path, bytes, a file "
        "opened in binary mode, or (samples, rate)."
    )


def _existing(given: Path) -> Path:
    try:
        path = given.expanduser()
        if path.exists() and not path.is_dir():
            return path
        error, what = AudioNotFound, "does not exist"
        if path.is_dir():
            error, what = AudioError, "is a folder"
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
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[0] > _MOST_CHANNELS):
        raise AudioError(
            f"Expected samples [n] or [channels, n], got the shape {samples.shape}. soundfile's "
            "arrays have the channels last: transpose them."
        )
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128.0) / 128.0
    elif np.issubdtype(samples.dtype, np.signedinteger):
        samples = (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    elif np.issubdtype(samples.dtype, np.floating):
        samples = samples.astype(np.float32)
    else:
        raise AudioError(f"Expected float or integer samples, got {samples.dtype}.")
    if samples.ndim == 2:
        samples = samples.mean(axis=0, dtype=np.float32)
    return samples, int(rate)
