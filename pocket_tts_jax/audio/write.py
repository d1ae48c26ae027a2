"""Writes speech: WAV and raw PCM as it is made, FLAC, OGG, Opus and MP3 through soundfile."""

import io
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pocket_tts_jax.audio.sink import Target, is_disk_file, open_sink, rewindable
from pocket_tts_jax.audio.tags import Tags, info_chunk
from pocket_tts_jax.errors import AudioError
from pocket_tts_jax.shapes import Float, Int16

_COMPRESSED = {
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
FORMATS = ("wav", "raw", *_COMPRESSED)
"""Names that `open_writer` takes; "raw" is int16, little-endian, mono, without a header."""

_UNKNOWN_SIZE = 0xFFFFFFFF
_HEADER = 44
_ENCODED_AT_ONCE = 1 << 16  # libsndfile's Vorbis encoder puts a whole write on the stack


class Writer(ABC):
    """Writes mono samples to an open file."""

    def __init__(self, file: BinaryIO, rate: int):
        self._file = file
        self._rate = rate

    @abstractmethod
    def write(self, samples: Float[np.ndarray, " n"]) -> None:
        """Append samples in [-1, 1]; larger ones are clipped. Raises AudioError on a full disk."""

    @abstractmethod
    def finish(self) -> None:
        """Write the end of the format. The file stays open."""

    def _emit(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError:
            raise  # the reader closed the pipe; the caller exits quietly
        except OSError as error:
            raise AudioError(
                f"The audio cannot be written: {error}. Check that there is room."
            ) from error


class RawWriter(Writer):
    """int16 little-endian samples and nothing else."""

    def write(self, samples: Float[np.ndarray, " n"]) -> None:
        self._emit(to_int16(samples).astype("<i2").tobytes())

    def finish(self) -> None:
        pass


class WavWriter(RawWriter):
    """16-bit WAV with one header, sent before the first sample.

    `finish` fills in its two sizes if the file can be rewound. In a pipe they stay "unknown"
    (0xFFFFFFFF), which players treat as a stream.
    """

    def __init__(self, file: BinaryIO, rate: int, tags: Tags | None = None):
        super().__init__(file, rate)
        self._start = rewindable(file)
        self._tags = tags
        header = wav_header(rate, None, tags)
        self._header = len(header)
        self._emit(header)

    def finish(self) -> None:
        if self._start is None:
            return
        end = self._file.tell()
        self._file.seek(self._start)
        size = max(end - self._start - self._header, 0)  # the null device stays at 0
        self._emit(wav_header(self._rate, size, self._tags))
        self._file.seek(end)


class CompressedWriter(Writer):
    """FLAC, OGG, Opus or MP3. A target without a file descriptor is written at the end."""

    def __init__(self, file: BinaryIO, rate: int, name: str, tags: Tags | None = None):
        import soundfile

        super().__init__(file, rate)
        container, subtype = _COMPRESSED[name]
        self._lossless = name == "flac"
        self._memory = None if is_disk_file(file) else io.BytesIO()
        try:
            # libsndfile writes to the descriptor itself if there is one: through a Python file it
            # could not report a full disk.
            self._encoder = soundfile.SoundFile(
                file.fileno() if self._memory is None else self._memory,
                mode="w",
                samplerate=rate,
                channels=1,
                format=container,
                subtype=subtype,
                closefd=False,
            )
        except (soundfile.LibsndfileError, ValueError) as error:
            raise AudioError(
                f"{name} cannot be written at {rate} Hz with this libsndfile ({error}). Choose wav."
            ) from error
        for field, value in {} if tags is None else tags.fields().items():
            setattr(self._encoder, field, value)

    def write(self, samples: Float[np.ndarray, " n"]) -> None:
        data = to_int16(samples) if self._lossless else np.clip(_finite(samples), -1, 1)
        for start in range(0, data.shape[0], _ENCODED_AT_ONCE):
            self._encode(data[start : start + _ENCODED_AT_ONCE])

    def _encode(self, data: np.ndarray) -> None:
        import soundfile

        try:
            self._encoder.write(data)
        except (soundfile.LibsndfileError, AssertionError, OSError) as error:
            reason = str(error).rstrip(".") or "the encoder stopped"
            raise AudioError(
                f"The audio cannot be written: {reason}. Check that there is room."
            ) from error

    def finish(self) -> None:
        import soundfile

        try:
            self._encoder.close()
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"The audio cannot be written: {str(error).rstrip('.')}. Check that there is room."
            ) from error
        if self._memory is not None:
            self._emit(self._memory.getvalue())


def to_int16(samples: Float[np.ndarray, " n"]) -> Int16[np.ndarray, " n"]:
    """[-1, 1] to [-32767, 32767], clipped and rounded towards zero, as the reference does."""
    return (np.clip(_finite(samples), -1, 1) * np.float32(32767)).astype(np.int16)


def wav_header(rate: int, data_bytes: int | None, tags: Tags | None = None) -> bytes:
    """What stands before 16-bit mono samples: 44 bytes and the tags.

    `data_bytes` None, or more than fits, says "unknown size".
    """
    about = b"" if tags is None else info_chunk(tags.fields())
    header = _HEADER + len(about)
    if data_bytes is None or data_bytes > _UNKNOWN_SIZE - header:
        riff = data = _UNKNOWN_SIZE
    else:
        riff, data = data_bytes + header - 8, data_bytes
    format_chunk = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    return (
        struct.pack("<4sI4s4s", b"RIFF", riff, b"WAVE", b"fmt ")
        + format_chunk
        + about  # before the samples, so that pipes and broken-off files carry it too
        + struct.pack("<4sI", b"data", data)
    )


@contextmanager
def open_writer(
    target: Target,
    rate: int,
    *,
    format: str | None = None,
    in_place: bool = False,
    tail_seconds: float = 0.0,
    tags: Tags | None = None,
) -> Iterator[Writer]:
    """A `Writer` to `target`, finished when the block ends.

    `format` is one of FORMATS, by default what the path ends in ("wav" for "-", open files and
    names without an ending). A path appears, or is replaced, only when the block ends without an
    error; with `in_place` it grows as samples come, so that it can be played meanwhile, and keeps
    what it had at an error. `tail_seconds` of silence are added at the end (the reference adds
    0.2). `tags` say by what the speech was made ("raw" has no place for them). Raises AudioError;
    BrokenPipeError comes through as it is, for the caller to end quietly.
    """
    format = _format_of(target) if format is None else format
    if format not in FORMATS:
        raise AudioError(
            f"There is no audio format {format!r}. Choose one of {', '.join(FORMATS)}."
        )
    with open_sink(target, in_place) as file:
        writer = _make_writer(file, rate, format, tags)
        try:
            yield writer
            writer.write(np.zeros(round(tail_seconds * rate), np.float32))
        except BaseException:
            # Leave a readable file for a player; an atomic one is discarded.
            with suppress(AudioError, OSError):
                writer.finish()
            raise
        writer.finish()


def write_audio(
    target: Target,
    samples: Float[np.ndarray, " n"],
    rate: int,
    *,
    format: str | None = None,
    tags: Tags | None = None,
) -> None:
    """Write all of `samples` at `rate` Hz; see `open_writer`."""
    with open_writer(target, rate, format=format, tags=tags) as writer:
        writer.write(samples)


def _make_writer(file: BinaryIO, rate: int, format: str, tags: Tags | None) -> Writer:
    if format == "wav":
        return WavWriter(file, rate, tags)
    if format == "raw":
        return RawWriter(file, rate)
    return CompressedWriter(file, rate, format, tags)


def _format_of(target: Target) -> str:
    if not isinstance(target, str | Path) or str(target) == "-":
        return "wav"
    suffix = Path(target).suffix.lower().lstrip(".")
    suffix = {"": "wav", "wave": "wav", "pcm": "raw", "oga": "ogg"}.get(suffix, suffix)
    if suffix not in FORMATS:
        raise AudioError(
            f"{target}: what comes after the last dot must name an audio format, one of "
            f"{', '.join(FORMATS)}; or choose a format."
        )
    return suffix


def _finite(samples: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    if not np.isfinite(samples).all():
        raise AudioError(
            "NaN or infinity among the samples to write. The model that made them is damaged or "
            "was given a damaged voice."
        )
    return samples
