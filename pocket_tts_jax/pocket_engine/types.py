"""The types of the interface of the phone apps: values, events, errors.

Fields, ranges and defaults are those of that interface. A value that this model cannot follow is
refused.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pocket_tts_jax.errors import TextError, TTSError, VoiceError


class PocketTTSError(TTSError):
    """Base of the errors of `PocketTTSEngine`."""


class ModelNotLoaded(PocketTTSError):
    """The engine was unloaded."""


class ModelLoadFailed(PocketTTSError):
    """The model folder cannot be used."""


class TokenizationFailed(PocketTTSError):
    """There is nothing to speak in a text."""


class InferenceFailed(PocketTTSError):
    """Speech could not be generated."""


class InvalidVoice(PocketTTSError):
    """There is no such voice, or the reference audio cannot be used."""


class InvalidConfig(PocketTTSError):
    """A setting is outside its range, or this model cannot follow it."""


class AudioEncodingFailed(PocketTTSError):
    """Audio could not be put into its container."""


class IoError(PocketTTSError):
    """A file could not be read or written."""


@dataclass(frozen=True)
class PocketVoiceInfo:
    """A voice that `TTSConfig.voice_index` can choose."""

    index: int
    name: str
    gender: str
    description: str


@dataclass(frozen=True)
class TTSConfig:
    """How to speak.

    voice_index: 0 to 7, into the voices of the model.
    temperature: 0 to 1, variance of the noise that latents are drawn from.
    top_p: 0.1 to 1, the middle part of the normal distribution that the noise is drawn from: it
        is truncated at the quantiles (1 ± top_p) / 2. 1 leaves it whole.
    speed: 0.5 to 2, a time stretch that keeps the pitch.
    consistency_steps: 1 to 4, evaluations of the flow head per frame. Models whose head makes a
        latent in one step take 1 only.
    use_fixed_seed, seed: the same text and settings then give the same samples.
    """

    voice_index: int = 0
    temperature: float = 0.7
    top_p: float = 0.9
    speed: float = 1.0
    consistency_steps: int = 2
    use_fixed_seed: bool = False
    seed: int = 42

    @classmethod
    def low_latency(cls) -> "TTSConfig":
        """One evaluation of the flow head per frame."""
        return cls(consistency_steps=1)

    @classmethod
    def high_quality(cls) -> "TTSConfig":
        """Four evaluations of the flow head per frame."""
        return cls(consistency_steps=4)

    def validate(self) -> None:
        """Raises InvalidConfig with every setting that is outside its range."""
        ranges = {
            "voice_index": (0, 7),
            "temperature": (0, 1),
            "top_p": (0.1, 1),
            "speed": (0.5, 2),
            "consistency_steps": (1, 4),
            "seed": (0, 2**64 - 1),
        }
        mistakes = []
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            whole = name in ("voice_index", "consistency_steps", "seed")
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                mistakes.append(f"{name} must be a number, got {value!r}")
            elif not (math.isfinite(value) and least <= value <= most):
                mistakes.append(f"{name} must be from {least} to {most}, got {value}")
        if not isinstance(self.use_fixed_seed, bool):
            mistakes.append(f"use_fixed_seed must be True or False, got {self.use_fixed_seed!r}")
        if mistakes:
            raise InvalidConfig("; ".join(mistakes))


@dataclass(frozen=True)
class AudioChunk:
    """A piece of a stream: mono samples as float32, little-endian. The last one may be empty."""

    audio_data: bytes
    sample_rate: int
    is_final: bool


@dataclass(frozen=True)
class SynthesisResult:
    """A whole utterance; `audio_data` is a WAV file with 16-bit samples."""

    audio_data: bytes
    sample_rate: int
    channels: int
    duration_seconds: float


class TTSEventHandler(Protocol):
    """Receives the events of `start_true_streaming`."""

    def on_audio_chunk(self, chunk: AudioChunk) -> None: ...
    def on_progress(self, progress: float) -> None:
        """Share of the text that has been spoken, 0 to 1."""
        ...

    def on_complete(self) -> None: ...
    def on_error(self, message: str) -> None: ...


@contextlib.contextmanager
def translated_errors(otherwise: type[PocketTTSError]) -> Iterator[None]:
    """Raise the errors of this package as those of the interface."""
    try:
        yield
    except PocketTTSError:
        raise
    except TextError as error:
        raise TokenizationFailed(str(error)) from error
    except VoiceError as error:
        raise InvalidVoice(str(error)) from error
    except TTSError as error:
        raise otherwise(str(error)) from error
    except OSError as error:
        raise IoError(str(error)) from error
