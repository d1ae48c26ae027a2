"""A LiteRT export with the interface of `TTSModel`. Needs NumPy and LiteRT alone."""

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pocket_tts_jax import generate
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.export_folder import open_folder
from pocket_tts_jax.generate import OnChunk, Sampling
from pocket_tts_jax.litert_engine import LiteRTEngine
from pocket_tts_jax.prompt_cache import PromptCache
from pocket_tts_jax.source import ModelSource, Sidecar
from pocket_tts_jax.text_options import TextOptions, iter_prompts
from pocket_tts_jax.tokenizer import load_tokenizer
from pocket_tts_jax.voice_source import VoiceLoader, VoiceSource
from pocket_tts_jax.voices import VoicePrompt, VoiceState
from pocket_tts_jax.weight_cache import default_folder

Audio = Float[np.ndarray, " samples"]


class LiteRTSpeaker:
    """An exported model in memory. The arguments are those of `TTSModel.load_model`.

    `threads` is how many threads a call computes with; `weight_cache` keeps packed weights in the
    user's cache folder. Raises CheckpointError for a damaged folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        threads: int = 2,
        weight_cache: bool = True,
        temp: float | None = None,
        sampler_decode_steps: int = 1,
        noise_clamp: float | None = None,
        eos_threshold: float | None = None,
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads must be 1 or more, got {threads}")
        export = open_folder(folder.expanduser())
        self.precision = export.precision
        self.config = export.config
        self.engine = LiteRTEngine(
            export, threads=threads, cache_folder=default_folder() if weight_cache else None
        )
        kind, tokenizer = export.tokenizer()
        self.tokenizer = load_tokenizer(kind, tokenizer, self.config.flow_lm.lookup_table.n_bins)
        self.source = ModelSource(
            name=export.name,
            config=self.config,
            tokenizer=tokenizer,
            load_tensors=_no_tensors,
            has_voice_cloning=self.engine.can_clone,
            sidecar=Sidecar.read(export.path),
            voices=export.path / "voices",
        )
        self.temp = self.config.default_temperature if temp is None else temp
        self.sampler_decode_steps = sampler_decode_steps
        self.noise_clamp = noise_clamp
        self.eos_threshold = (
            self.config.default_eos_threshold if eos_threshold is None else eos_threshold
        )
        # Exports that do not say which weights they were made from take any voice that fits.
        fingerprint = export.manifest.get("fingerprint", "")
        encoder = export.sha256("mimi_encoder.tflite") if self.engine.can_clone else ""
        self._voices = VoiceLoader(self.source, _Voices(self.engine), fingerprint, encoder)

    @property
    def sample_rate(self) -> int:
        return self.engine.sample_rate

    @property
    def has_voice_cloning(self) -> bool:
        return self.engine.can_clone

    def voice_names(self) -> list[str]:
        return self._voices.names()

    def default_voice(self) -> str:
        return self._voices.default()

    def get_state_for_audio_prompt(
        self,
        audio_conditioning: VoiceSource,
        truncate: bool = False,
        *,
        cache: PromptCache | None = None,
    ) -> VoiceState:
        """The voice to speak with; see `TTSModel.get_state_for_audio_prompt`."""
        return self._voices.load(audio_conditioning, truncate=truncate, cache=cache)

    def generate_audio_stream(
        self,
        model_state: VoiceState,
        text_to_generate: str,
        max_tokens: int | None = None,
        frames_after_eos: int | None = None,
        copy_state: bool = True,
        stop: threading.Event | None = None,
        *,
        seed: int | None = None,
        text: TextOptions | None = None,
        first_chunk: int = 0,
        on_chunk: OnChunk | None = None,
    ) -> Iterator[Audio]:
        """Speak a text in 80 ms frames; see `TTSModel.generate_audio_stream`."""
        if not copy_state:
            raise ConfigError("copy_state=False has no meaning here: voices are never changed.")
        prompts = iter_prompts(
            text_to_generate, self.tokenizer, self.source, text, max_tokens, first_chunk
        )
        if frames_after_eos is None:
            frames_after_eos = self.config.model_recommended_frames_after_eos
        sampling = Sampling(
            seed=secrets.randbits(63) if seed is None else seed,
            temperature=self.temp,
            eos_threshold=self.eos_threshold,
            noise_clamp=self.noise_clamp,
            frames_after_eos=frames_after_eos,
            flow_steps=self.sampler_decode_steps,
        )
        return generate.stream(
            self.engine,
            model_state,
            prompts,
            sampling,
            first_chunk=first_chunk,
            stop=stop,
            on_chunk=on_chunk,
        )

    def warmup(self) -> None:
        """Pack the weights of all signatures; loading has done so already."""


class _Voices:
    """The part of the engine that makes voices, as `VoiceLoader` calls it."""

    def __init__(self, engine: LiteRTEngine) -> None:
        self.sample_rate = engine.sample_rate
        self.encode = engine.encode
        self.voice_from_latents = engine.voice_from_latents
        self._engine = engine

    def voice_from_embeddings(self, embeddings: Float[np.ndarray, "t d"]) -> VoiceState:
        return self._engine.voice_from_prompt(VoicePrompt(embeddings))


def _no_tensors() -> dict[str, np.ndarray]:
    raise ConfigError("An export has no tensors to load: use the folder it was made from.")
