"""What every model that speaks has in common, whichever engine computes: text to prompts, a
voice from whatever names one, sampling, and the stream of audio."""

import secrets
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.generation import stream as generate
from pocket_tts_jax.generation.engine import Engine
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.generation.stream import OnChunk
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.pipeline import Item, TextOptions, iter_prompts
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.voice.cache import PromptCache
from pocket_tts_jax.voice.load import VoiceLoader, VoiceSource
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.source import ModelSource

Audio = Float[np.ndarray, " samples"]


@dataclass(frozen=True)
class SamplingOptions:
    """How a model draws its latents; None takes the model's own value.

    temp: variance of the noise, 0 or more. sampler_decode_steps: steps of the flow head, 1 or
    more. noise_clamp: largest noise, above 0, or None for no limit. eos_threshold: logit above
    which speech ends.
    """

    temp: float | None = None
    sampler_decode_steps: int = 1
    noise_clamp: float | None = None
    eos_threshold: float | None = None


class SpeechModel:
    """A model in memory. Thread-safe: concurrent generations share the weights and no more.

    `TTSModel` runs it on JAX, `LiteRTSpeaker` on LiteRT.
    """

    def __init__(
        self, source: ModelSource, engine: Engine, voices: VoiceLoader, options: SamplingOptions
    ):
        config, bins = source.config, source.config.flow_lm.lookup_table.n_bins
        self.source, self.config = source, config
        self.tokenizer = load_tokenizer(source.tokenizer_kind, source.tokenizer, bins)
        self.temp = config.default_temperature if options.temp is None else options.temp
        self.sampler_decode_steps = options.sampler_decode_steps
        self.noise_clamp = options.noise_clamp
        self.eos_threshold = (
            config.default_eos_threshold if options.eos_threshold is None else options.eos_threshold
        )
        self.sampling(seed=0)  # refuses impossible options before there is a text
        self._engine, self._voices = engine, voices

    @property
    def sample_rate(self) -> int:
        """Samples per second of all audio in and out of the model (24,000)."""
        return self.config.mimi.sample_rate

    @property
    def has_voice_cloning(self) -> bool:
        """Whether a recording can be a voice."""
        return self.source.has_voice_cloning

    def voice_names(self) -> list[str]:
        """Names that `get_state_for_audio_prompt` knows without a path."""
        return self._voices.names()

    def default_voice(self) -> str:
        """The voice of this model where the user chose none."""
        return self._voices.default()

    def get_state_for_audio_prompt(
        self,
        audio_conditioning: VoiceSource,
        truncate: bool = False,
        *,
        cache: PromptCache | None = None,
    ) -> VoiceState:
        """The voice to speak with.

        `audio_conditioning` is the name of a voice (of the model, or one of Kyutai's), a voice
        file (`.safetensors`), a recording (path, `https://`, `hf://`, bytes, or an array with its
        rate, or [channels, samples] at the model's rate). `truncate` keeps the first 30 s of a
        recording. What was encoded is kept on disk by content; pass
        `PromptCache(enabled=False)` for not.

        Raises VoiceError; VoiceCloningUnavailable for a recording where the model has no encoder.
        """
        return self._voices.load(audio_conditioning, truncate=truncate, cache=cache)

    def check_voice(self, voice: VoiceState) -> None:
        """VoiceError for a voice that was made for another model."""
        self._voices.check(voice)

    def prompts(
        self,
        text: str,
        max_tokens: int | None = None,
        options: TextOptions | None = None,
        first_chunk: int = 0,
    ) -> Iterator[Item]:
        """The chunks that the model is fed for `text`, each with its tokens and limits, and the
        pauses between them."""
        return iter_prompts(text, self.tokenizer, self.source, options, max_tokens, first_chunk)

    def sampling(self, seed: int | None = None, frames_after_eos: int | None = None) -> Sampling:
        """The model's sampling options for one generation; `seed` None draws one."""
        if frames_after_eos is None:
            frames_after_eos = self.config.model_recommended_frames_after_eos
        return Sampling(
            seed=secrets.randbits(63) if seed is None else seed,
            temperature=self.temp,
            eos_threshold=self.eos_threshold,
            noise_clamp=self.noise_clamp,
            frames_after_eos=frames_after_eos,
            flow_steps=self.sampler_decode_steps,
        )

    def warmup(self) -> None:
        """Make ready all that generation runs, so that no request waits for it."""
        raise NotImplementedError

    def generate_audio(
        self,
        model_state: VoiceState,
        text_to_generate: str,
        max_tokens: int | None = None,
        frames_after_eos: int | None = None,
        copy_state: bool = True,
        *,
        seed: int | None = None,
        text: TextOptions | None = None,
    ) -> Audio:
        """Speak a text: all samples at once, [samples] float32. Same arguments, and the same
        samples for a seed, as `generate_audio_stream`."""
        frames = self.generate_audio_stream(
            *(model_state, text_to_generate, max_tokens, frames_after_eos, copy_state),
            seed=seed,
            text=text,
        )
        return np.concatenate([np.empty(0, np.float32), *frames])

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
    ) -> Generator[Audio, None, None]:
        """Speak a text, yielding each 80 ms frame (1920 samples, float32) as soon as it is made.

        max_tokens: longest chunk that a text is cut into (50, or what the model says).
        frames_after_eos: frames spoken after the model's end; None leaves it to the text's length.
        copy_state: must be True: a voice is never changed, so there is nothing to save by False.
        stop: set it to end the stream within two frames; closing the generator does the same.
        seed: same seed, same bytes; None draws one.
        text: reading of numbers, a lexicon, pauses (see `TextOptions`); by default what the model
            asks for, which for Kyutai's is nothing.
        first_chunk: skip as many chunks, to resume a long text; the rest is as in the whole.
        on_chunk: called with a `ChunkReport` after each chunk.

        Raises TextError at once where there is nothing to speak, and VoiceError for a voice of
        another model.
        """
        if not copy_state:
            raise ConfigError("copy_state=False has no meaning here: voices are never changed.")
        self.check_voice(model_state)
        prompts = self.prompts(text_to_generate, max_tokens, text, first_chunk)
        return generate.stream(
            self._engine,
            model_state,
            prompts,
            self.sampling(seed, frames_after_eos),
            first_chunk=first_chunk,
            stop=stop,
            on_chunk=on_chunk,
        )
