"""Encodes audio for sending: bytes as soon as samples arrive, with one header and a proper end.

WAV and PCM are written here, the others by FFmpeg's libraries through PyAV.
"""

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from pocket_tts_jax.audio.write import RawWriter, WavWriter, to_int16
from pocket_tts_jax.shapes import Float

Samples = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Format:
    """A format that clients can request. `tail` is silence at the end, in seconds: players and
    decoders of compressed audio may cut off the last samples."""

    name: str
    media_type: str
    container: str | None = None
    codec: str | None = None
    sample_format: str = "s16"
    tail: float = 0.2
    bit_rate: int = 0

    def silence(self, rate: int) -> Samples:
        """The tail at `rate` Hz."""
        return np.zeros(round(self.tail * rate), np.float32)


FORMATS = {
    one.name: one
    for one in (
        Format("pcm", "audio/pcm", tail=0.0),
        Format("wav", "audio/wav"),
        Format("mp3", "audio/mpeg", "mp3", "libmp3lame", "fltp", bit_rate=64_000),
        Format("opus", "audio/ogg", "ogg", "libopus", "flt", bit_rate=40_000),
        Format("aac", "audio/aac", "adts", "aac", "fltp", bit_rate=64_000),
        Format("flac", "audio/flac", "flac", "flac", "s16"),
    )
}
# Small pages: players begin with the first. No headers that would be completed by seeking back.
_MUXER = {
    "ogg": {"page_duration": "80000"},
    "mp3": {"write_xing": "0", "id3v2_version": "0"},
}


class Encoder(Protocol):
    """Mono samples in, bytes of one file out."""

    def encode(self, samples: Samples) -> bytes:
        """The bytes that `samples` (±1 full scale) complete."""
        ...

    def finish(self) -> bytes:
        """The bytes at the end of the format."""
        ...

    def close(self) -> None:
        """Free the encoder, finished or not."""
        ...


def open_encoder(format: Format, rate: int, *, whole: bool = False) -> Encoder:
    """An encoder for samples at `rate` Hz. With `whole` the header has the length of the audio, and
    all bytes come at the end. Otherwise they come at once, and the header says "unknown"."""
    if format.container is None:
        return _Plain(format, rate, whole)
    return _Compressed(format, rate, whole)


class _Sink:
    """A write-only file in memory. `take` removes and returns what was written."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def flush(self) -> None:
        pass

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


class _Plain:
    def __init__(self, format: Format, rate: int, whole: bool) -> None:
        self._sink: Any = io.BytesIO() if whole else _Sink()
        self._whole = whole
        self._writer = (WavWriter if format.name == "wav" else RawWriter)(self._sink, rate)

    def encode(self, samples: Samples) -> bytes:
        self._writer.write(samples)
        return b"" if self._whole else self._sink.take()

    def finish(self) -> bytes:
        self._writer.finish()
        return self._sink.getvalue() if self._whole else self._sink.take()

    def close(self) -> None:
        pass


class _Compressed:
    def __init__(self, format: Format, rate: int, whole: bool) -> None:
        import av

        self._format, self._rate, self._whole = format, rate, whole
        self._sink: Any = io.BytesIO() if whole else _Sink()
        options = {"flush_packets": "1", **_MUXER.get(format.container or "", {})}
        self._container = av.open(self._sink, "w", format=format.container, options=options)
        self._stream: Any = self._container.add_stream(str(format.codec), rate=rate, layout="mono")
        if format.bit_rate:
            self._stream.bit_rate = format.bit_rate
        self._sent = 0

    def encode(self, samples: Samples) -> bytes:
        if samples.shape[0] == 0:
            return b""
        import av

        integers = to_int16(samples)  # raises for what is not finite
        if self._format.sample_format != "s16":
            integers = integers.astype(np.float32) / np.float32(32767)
        frame = av.AudioFrame.from_ndarray(
            integers[None], format=self._format.sample_format, layout="mono"
        )
        frame.sample_rate, frame.pts = self._rate, self._sent
        frame.time_base = Fraction(1, self._rate)
        self._sent += samples.shape[0]
        self._container.mux(self._stream.encode(frame))
        return b"" if self._whole else self._sink.take()

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.getvalue() if self._whole else self._sink.take()

    def close(self) -> None:
        self._container.close()
