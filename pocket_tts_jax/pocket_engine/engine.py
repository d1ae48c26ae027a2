"""The engine interface of the phone apps, over LiteRT: same members, ranges, defaults and errors.

It opens an exported folder, or a phone folder {model.safetensors, tokenizer.model, voices/}, which
it exports once into the user's cache (that needs `pip install 'pocket-tts-jax[export]'`).
"""

import contextlib
import io
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from safetensors import SafetensorError, safe_open

import pocket_tts_jax
from pocket_tts_jax.audio.stretch import TimeStretch
from pocket_tts_jax.audio.write import write_audio
from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.generation.noise import inverse_normal
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.generation.stream import stream
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.export_cache import ExportedModel
from pocket_tts_jax.litert_engine.folder import is_export_folder
from pocket_tts_jax.pocket_engine.types import (
    AudioChunk,
    AudioEncodingFailed,
    InferenceFailed,
    InvalidConfig,
    InvalidVoice,
    IoError,
    ModelLoadFailed,
    ModelNotLoaded,
    PocketTTSError,
    PocketVoiceInfo,
    SynthesisResult,
    TokenizationFailed,
    TTSConfig,
    TTSEventHandler,
    translated_errors,
)
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.expected import parameter_shapes
from pocket_tts_jax.weights.source import EMBEDDED, WEIGHTS, open_source

Samples = Float[np.ndarray, " n"]


def version() -> str:
    """Version of this package."""
    return pocket_tts_jax.__version__


def available_voices(model_path: str | Path = EMBEDDED) -> list[PocketVoiceInfo]:
    """The voices of a model folder (without one: of the voice in this package), by index."""
    files = sorted((Path(model_path) / "voices").glob("*.safetensors"))
    return [_describe(index, path) for index, path in enumerate(files)]


class PocketTTSEngine:
    """A model in memory. Thread-safe; `cancel` ends calls in other threads.

    Args:
        model_path: an exported folder, or a phone folder; without one, the voice in this package.
        threads: number of threads that compute, 1 or more.
        text: reading of numbers, a lexicon, pauses; by default what the model asks for.

    Raises ModelLoadFailed, IoError.
    """

    def __init__(
        self,
        model_path: str | Path = EMBEDDED,
        *,
        threads: int = 2,
        text: TextOptions | None = None,
    ) -> None:
        self._text = text
        self._path = Path(model_path).expanduser()
        self._lock = threading.Lock()
        self._running: set[threading.Event] = set()
        self._reference: VoiceState | None = None
        with translated_errors(ModelLoadFailed):
            if not self._path.exists():
                raise IoError(f"There is no folder {self._path}.")
            folder = _exported(self._path)
            self._model: TTSModel | None = TTSModel.load_model(
                model=folder, engine="litert", threads=threads
            )
        self._steps = self._engine().flow_steps
        self._config = TTSConfig()
        if self._config.consistency_steps not in self._steps:
            self._config = replace(self._config, consistency_steps=self._steps[0])

    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        return self._model is not None

    def model_version(self) -> str:
        """Name and precision of the model."""
        folder = self._engine().folder
        return f"{folder.name} ({folder.precisions})"

    def parameter_count(self) -> int:
        """Number of parameters in the model's checkpoint."""
        shapes = parameter_shapes(self._loaded().config).values()
        return sum(int(np.prod(shape)) for shape in shapes)

    def configure(self, config: TTSConfig) -> None:
        """Use these settings from the next call on. Raises InvalidConfig."""
        config.validate()
        if config.consistency_steps not in self._steps:
            raise InvalidConfig(
                f"consistency_steps must be one of {list(self._steps)} for this model, "
                f"got {config.consistency_steps}"
            )
        self._voice_name(config.voice_index)
        with self._lock:
            self._config = config

    def get_config(self) -> TTSConfig:
        """The settings in use."""
        return self._config

    def synthesize(self, text: str) -> SynthesisResult:
        """Speak a text. A cancelled call returns the audio so far."""
        return self._synthesize(text, self._config)

    def synthesize_with_voice(self, text: str, voice_index: int) -> SynthesisResult:
        """Speak with this voice, instead of the configured one or the reference audio."""
        self._voice_name(voice_index)
        config = replace(self._config, voice_index=voice_index)
        return self._synthesize(text, config, use_reference=False)

    def start_true_streaming(self, text: str, handler: TTSEventHandler) -> None:
        """Speak a text in pieces of 80 ms, as they are made.

        Calls the handler in this thread, and returns after `on_complete` or `on_error`; after
        `cancel` it returns without either. Errors of the handler itself are raised here.
        """
        rate = self._loaded().sample_rate
        with self._stoppable() as stop:
            pieces = self._stream(text, self._config, stop, True)
            while True:
                try:
                    piece = next(pieces, None)
                except PocketTTSError as error:
                    handler.on_error(str(error))
                    return
                if stop.is_set():
                    return
                if piece is None:
                    break
                samples, progress = piece
                handler.on_audio_chunk(AudioChunk(_bytes(samples), rate, False))
                handler.on_progress(progress)
            handler.on_audio_chunk(AudioChunk(b"", rate, True))
            handler.on_progress(1.0)
            handler.on_complete()

    def cancel(self) -> None:
        """End every running call within two frames. Later calls are not affected."""
        with self._lock:
            for stop in self._running:
                stop.set()

    def set_reference_audio(self, audio: bytes, sample_rate: int) -> None:
        """Speak like this recording: mono float32 samples, little-endian.

        Raises InvalidVoice for an unusable recording, or a model without voice cloning.
        """
        model = self._loaded()
        with translated_errors(InvalidVoice):
            if len(audio) % 4 or sample_rate <= 0:
                raise InvalidVoice(
                    f"expected float32 samples and a rate above 0, got {len(audio)} bytes at "
                    f"{sample_rate} Hz"
                )
            samples = np.frombuffer(audio, "<f4").astype(np.float32)
            voice = model.get_state_for_audio_prompt((samples, sample_rate), truncate=True)
        with self._lock:
            self._reference = voice

    def clear_reference_audio(self) -> None:
        """Go back to the configured voice."""
        with self._lock:
            self._reference = None

    def decode_latents(self, latents: bytes, n: int) -> bytes:
        """Float32 samples of `n` frames of float32 latents [n × width], a stream of its own."""
        engine = self._engine()
        expected = 4 * n * engine.config.latent_dim
        if n < 1 or len(latents) != expected:
            raise InferenceFailed(
                f"expected {expected} bytes for {n} frames of {engine.config.latent_dim} latents, "
                f"got {len(latents)}"
            )
        frames = np.frombuffer(latents, "<f4").astype(np.float32).reshape(n, -1)
        with translated_errors(InferenceFailed):
            return _bytes(engine.decoder().decode(frames))

    def unload(self) -> None:
        """Free the model. Afterwards every call but `unload` and `is_ready` raises
        ModelNotLoaded."""
        self.cancel()
        with self._lock:
            model, self._model = self._model, None
            self._reference = None
        if model is not None:
            model.engine.close()

    def _loaded(self) -> TTSModel:
        model = self._model
        if model is None:
            raise ModelNotLoaded("The engine was unloaded: make a new PocketTTSEngine.")
        return model

    def _engine(self) -> LiteRTEngine:
        return cast(LiteRTEngine, self._loaded().engine)

    def _voice_name(self, index: int) -> str:
        voices = self._engine().folder.voices()
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(voices):
            raise InvalidVoice(
                f"voice_index {index}: this model has {len(voices)} voices, counted from 0"
            )
        return list(voices)[index]

    def _synthesize(
        self, text: str, config: TTSConfig, use_reference: bool = True
    ) -> SynthesisResult:
        rate = self._loaded().sample_rate
        with self._stoppable() as stop:
            pieces = [piece for piece, _ in self._stream(text, config, stop, use_reference)]
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        file = io.BytesIO()
        with translated_errors(AudioEncodingFailed):
            write_audio(file, samples, rate)
        return SynthesisResult(file.getvalue(), rate, 1, samples.size / rate)

    def _stream(
        self, text: str, config: TTSConfig, stop: threading.Event, use_reference: bool
    ) -> Iterator[tuple[Samples, float]]:
        """(samples, share of the text spoken) until the end, or until `stop`."""
        model = self._loaded()
        with translated_errors(InvalidVoice):
            voice = self._reference if use_reference else None
            if voice is None:
                name = self._voice_name(config.voice_index)
                voice = model.get_state_for_audio_prompt(name)
        with translated_errors(InferenceFailed):
            items = list(model.prompts(text, options=self._text))
            if not any(isinstance(item, Prompt) for item in items):
                raise TokenizationFailed("There is nothing to speak in the text.")
            stretch, spoken = TimeStretch(config.speed, model.sample_rate), []
            frames = stream(
                *(model.engine, voice, items, _sampling(model, config)),
                stop=stop,
                on_chunk=spoken.append,
            )
            with contextlib.closing(frames):
                for frame in frames:
                    if (samples := stretch.push(frame)).size:
                        yield samples, len(spoken) / len(items)
            if not stop.is_set() and (rest := stretch.finish()).size:
                yield rest, 1.0

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[threading.Event]:
        stop = threading.Event()
        with self._lock:
            self._running.add(stop)
        try:
            yield stop
        finally:
            with self._lock:
                self._running.discard(stop)


def _sampling(model: TTSModel, config: TTSConfig) -> Sampling:
    clamp = None
    if config.top_p < 1 and config.temperature > 0:
        quantile = inverse_normal(np.array([(1 + config.top_p) / 2]))[0]
        clamp = float(quantile * np.sqrt(config.temperature))
    return Sampling(
        seed=config.seed if config.use_fixed_seed else secrets.randbits(63),
        temperature=config.temperature,
        eos_threshold=model.eos_threshold,
        noise_clamp=clamp,
        flow_steps=config.consistency_steps,
    )


def _exported(folder: Path) -> Path:
    """The export of a folder: the folder itself, or the export of a phone folder, made once."""
    if is_export_folder(folder):
        return folder
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder} is neither an exported folder (manifest.json) nor a phone folder "
            f"({WEIGHTS}, tokenizer.model, voices/)."
        )
    exported = ExportedModel(folder=folder)
    if found := exported.find():
        return found[0]
    cloning = open_source(model=folder).has_voice_cloning
    return exported.make(with_encoder=cloning, quiet=True)


def _describe(index: int, path: Path) -> PocketVoiceInfo:
    try:
        with safe_open(path, "np") as file:
            about = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InvalidVoice(f"The voice {path} cannot be read: {error}") from error
    return PocketVoiceInfo(
        index, path.stem, about.get("gender", "unknown"), about.get("description", "")
    )


def _bytes(samples: Samples) -> bytes:
    return np.ascontiguousarray(samples, "<f4").tobytes()
