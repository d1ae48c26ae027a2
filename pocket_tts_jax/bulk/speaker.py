"""Speaks rows in one process, as many at a time as the export's batch has streams.

Every step is computed with the whole batch, padded where there are fewer streams, so that the
samples of a row do not depend on what is spoken beside it: on one kind of processor, any order and
any number of processes give the same samples.
"""

import hashlib
import io
import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from pocket_tts_jax.audio.stretch import time_stretch
from pocket_tts_jax.audio.write import to_int16, write_audio
from pocket_tts_jax.bulk.rows import Row
from pocket_tts_jax.errors import ConfigError, TTSError
from pocket_tts_jax.files.hub import is_remote, resolve
from pocket_tts_jax.generation.ending import ChunkReport
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.state import VoiceState

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spoken:
    """A spoken row. `audio` is the encoded file; `sha256` is that of the 16-bit samples in it,
    little-endian. `voice` is the name that was used."""

    row: Row
    voice: str
    audio: bytes
    samples: int
    sample_rate: int
    sha256: str
    chunks: list[dict[str, Any]]

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    @property
    def warnings(self) -> list[str]:
        """What a listener should check."""
        return [
            f"chunk {number} reached its limit of {chunk['frames']} frames: words may be missing "
            "or repeated"
            for number, chunk in enumerate(self.chunks)
            if not chunk["eos"]
        ]


@dataclass(frozen=True)
class Failed:
    """A row that could not be spoken."""

    row: Row
    reason: str


Result = Spoken | Failed


class Speaker(Protocol):
    """What a worker process makes for itself."""

    @property
    def streams(self) -> int:
        """How many rows are spoken at the same time."""
        ...

    def speak(self, row: Row) -> Result:
        """Thread-safe."""
        ...


class MakeSpeaker(Protocol):
    """Makes the speaker of a process. It is sent there by pickle."""

    def __call__(self) -> Speaker: ...


@dataclass(frozen=True)
class SpeakerOptions:
    """The model of rows without a language, and how all rows are spoken. `format` is one of
    "flac", "wav" and "ogg"; `temperature` None takes the model's own."""

    language: str | None = None
    model: str | None = None
    temperature: float | None = None
    text: TextOptions = field(default_factory=TextOptions)
    truncate: bool = True
    offline: bool = False
    format: str = "flac"

    def __call__(self) -> "ModelSpeaker":
        return ModelSpeaker(self)


class ModelSpeaker:
    """Speaks with the options' model, and with those of the rows' languages."""

    def __init__(self, options: SpeakerOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._models: dict[str | None, _Model | TTSError] = {}
        self.default = self._open(None)
        self.streams = self.default.streams

    def speak(self, row: Row) -> Result:
        try:
            with self._lock:
                model = self._open(row.language)
                name, voice = model.voice(row.voice)
            return self._speak(model.tts_model, name, voice, row)
        except TTSError as error:
            return Failed(row, str(error))
        except Exception as error:  # one row must not end the others
            _log.exception("Row %s", row.id)
            return Failed(row, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Free the models."""
        for model in self._models.values():
            if isinstance(model, _Model):
                model.tts_model.engine.close()

    def _open(self, language: str | None) -> "_Model":
        if language not in self._models:
            try:
                self._models[language] = _Model(self._options, language)
            except TTSError as error:  # not tried again for every row
                self._models[language] = error
        found = self._models[language]
        if isinstance(found, TTSError):
            raise found
        return found

    def _speak(self, model: TTSModel, name: str, voice: VoiceState, row: Row) -> Spoken:
        chunks: list[ChunkReport] = []
        frames = model.generate_audio_stream(
            voice, row.text, seed=row.seed, text=self._options.text, on_chunk=chunks.append
        )
        samples = np.concatenate([np.empty(0, np.float32), *frames])
        samples = time_stretch(samples, row.speed, model.sample_rate)
        file = io.BytesIO()
        write_audio(
            file, samples, model.sample_rate, format=self._options.format, tags=model.tags(name)
        )
        return Spoken(
            row,
            name,
            file.getvalue(),
            len(samples),
            model.sample_rate,
            sha256_of(samples),
            [asdict(chunk) for chunk in chunks],
        )


class _Model:
    """One model and the voices that were used with it."""

    def __init__(self, options: SpeakerOptions, language: str | None) -> None:
        own = language is not None
        self._options = options
        self.tts_model = TTSModel.load_model(
            language if own else options.language,
            temp=options.temperature,
            model=None if own else options.model,
            engine="litert",
            threads=1,
            offline=options.offline,
            on_notice=_log.info,
        )
        engine = self.tts_model.engine
        if not isinstance(engine, LiteRTEngine):
            raise ConfigError("A corpus is spoken by an export: leave --engine jax out.")
        self.streams = engine.compute_whole_batches()
        self._voices: dict[str, VoiceState] = {}

    def voice(self, name: str | None) -> tuple[str, VoiceState]:
        """A voice with its name; None is the model's own."""
        name = self.tts_model.default_voice() if name is None else name
        if name not in self._voices:
            offline = self._options.offline
            source = resolve(name, what="the voice", offline=offline) if is_remote(name) else name
            self._voices[name] = self.tts_model.get_state_for_audio_prompt(
                str(source), truncate=self._options.truncate
            )
        return name, self._voices[name]


def sha256_of(samples: Float[np.ndarray, " n"]) -> str:
    """The SHA-256 of the 16-bit samples that a file of these samples has."""
    return hashlib.sha256(to_int16(samples).astype("<i2").tobytes()).hexdigest()


def speak_all(speaker: Speaker, rows: Iterable[Row]) -> Iterator[Result]:
    """The results of rows that are spoken together, in their order."""
    with ThreadPoolExecutor(speaker.streams, "pocket-tts row") as pool:
        yield from pool.map(speaker.speak, rows)
