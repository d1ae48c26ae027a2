"""`TTSModel`: the reference's Python interface over the JAX engine.

The quick start of pocket-tts runs with the import changed; NumPy arrays take the place of
tensors, and a `VoiceState` that of the state dictionary. Generation never changes a voice.
"""

import secrets
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pocket_tts_jax import generate
from pocket_tts_jax.config import Config
from pocket_tts_jax.engine import JaxEngine, check_flow_steps
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.generate import OnChunk, Sampling
from pocket_tts_jax.prompt_cache import PromptCache, fingerprint
from pocket_tts_jax.source import ModelSource, open_source
from pocket_tts_jax.text import Prompt
from pocket_tts_jax.text_options import TextOptions, iter_prompts
from pocket_tts_jax.tokenizer import load_tokenizer
from pocket_tts_jax.voice_source import VoiceLoader, VoiceSource
from pocket_tts_jax.voices import VoiceState, write_voice

Audio = Float[np.ndarray, " samples"]


class TTSModel:
    """A text to speech model in memory. Make one with `load_model`.

    Thread-safe: concurrent generations share the weights and nothing else.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        temp: float | None = None,
        sampler_decode_steps: int = 1,
        noise_clamp: float | None = None,
        eos_threshold: float | None = None,
    ):
        config = source.config
        check_flow_steps(config, sampler_decode_steps)
        table = config.flow_lm.lookup_table
        self.source = source
        self.config: Config = config
        self.tokenizer = load_tokenizer(table.tokenizer, source.tokenizer, table.n_bins)
        self.temp = config.default_temperature if temp is None else temp
        self.sampler_decode_steps = sampler_decode_steps
        self.noise_clamp = noise_clamp
        self.eos_threshold = (
            config.default_eos_threshold if eos_threshold is None else eos_threshold
        )
        tensors = source.load_tensors()
        self.has_voice_cloning = source.has_voice_cloning
        self.engine = JaxEngine(config, tensors)
        fingerprints = fingerprint(tensors, "flow_lm.transformer."), fingerprint(tensors)
        self._voices = VoiceLoader(source, self.engine, *fingerprints)

    @classmethod
    def load_model(
        cls,
        language: str | None = None,
        config: str | Path | None = None,
        temp: float | None = None,
        sampler_decode_steps: int = 1,
        noise_clamp: float | None = None,
        eos_threshold: float | None = None,
        quantize: bool = False,
        checkpoint: str | Path | None = None,
        lsd_decode_steps: int | None = None,
        *,
        model: str | Path | None = None,
        offline: bool = False,
        compilation_cache: bool = True,
    ) -> "TTSModel":
        """Load a model; without `language`, `config` or `model` the voice in this package.

        language: name of a published model ("english", "french_24l"), fetched from the Hub once.
        config: path, `https://` or `hf://` address of a YAML file.
        model: a folder, or the weight file in it (see `pocket_tts_jax.source`).
        temp: variance of the noise, 0 or more; None takes the model's own.
        sampler_decode_steps: steps of the flow head, 1 or more.
        noise_clamp: largest noise, above 0; None for no limit.
        eos_threshold: logit above which speech ends; None takes the model's own.
        checkpoint: weights to use instead of those that `config` or `language` names.
        offline: never use the network.
        compilation_cache: keep compiled code in the user's cache folder, for the next process.

        Raises ConfigError, CheckpointError or DownloadError, each saying what to do. `quantize`
        belongs to the LiteRT engine and is refused here.
        """
        if quantize:
            raise ConfigError(
                "The JAX engine computes in float32: int8 products are slower than float32 ones "
                "on a CPU there. For a smaller, faster model use the LiteRT engine: "
                "`python -m exporters.tflite --precision int8`."
            )
        if lsd_decode_steps is not None:
            warnings.warn(
                "lsd_decode_steps is now called sampler_decode_steps",
                DeprecationWarning,
                stacklevel=2,
            )
            sampler_decode_steps = lsd_decode_steps
        if compilation_cache:
            from pocket_tts_jax.compilation_cache import use_compilation_cache

            use_compilation_cache()
        source = open_source(
            language=language, config=config, model=model, checkpoint=checkpoint, offline=offline
        )
        return cls(
            source,
            temp=temp,
            sampler_decode_steps=sampler_decode_steps,
            noise_clamp=noise_clamp,
            eos_threshold=eos_threshold,
        )

    @property
    def sample_rate(self) -> int:
        """Samples per second of all audio in and out of the model (24,000)."""
        return self.engine.sample_rate

    @property
    def device(self) -> str:
        """Platform that the weights are on, such as "cpu"."""
        leaf = self.engine.flow_lm_params["bos_emb"]
        return next(iter(leaf.devices())).platform

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

    def voice_names(self) -> list[str]:
        """Names that `get_state_for_audio_prompt` knows without a path."""
        return self._voices.names()

    def default_voice(self) -> str:
        """The voice of this model where the user chose none."""
        return self._voices.default()

    def generate_audio(
        self,
        model_state: VoiceState,
        text_to_generate: str,
        max_tokens: int | None = None,
        frames_after_eos: int | None = None,
        copy_state: bool = True,
        **options: object,
    ) -> Audio:
        """Speak a text: all samples at once, [samples] float32. Same arguments, and the same
        samples for a seed, as `generate_audio_stream`."""
        frames = self.generate_audio_stream(
            model_state, text_to_generate, max_tokens, frames_after_eos, copy_state, **options  # type: ignore[arg-type]
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
    ) -> Iterator[Audio]:
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

        Raises TextError at once where there is nothing to speak.
        """
        if not copy_state:
            raise ConfigError("copy_state=False has no meaning here: voices are never changed.")
        prompts = self.prompts(text_to_generate, max_tokens, text, first_chunk)
        return generate.stream(
            self.engine,
            model_state,
            prompts,
            self.sampling(seed, frames_after_eos),
            first_chunk=first_chunk,
            stop=stop,
            on_chunk=on_chunk,
        )

    def prompts(
        self,
        text: str,
        max_tokens: int | None = None,
        options: TextOptions | None = None,
        first_chunk: int = 0,
    ) -> Iterator[Prompt]:
        """The chunks that the model is fed for `text`, each with its tokens and limits."""
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

    def generate_batch(
        self,
        voices: Sequence[VoiceState],
        texts: Sequence[str],
        *,
        seeds: Iterable[int] | None = None,
        max_tokens: int | None = None,
        text: TextOptions | None = None,
    ) -> list[Audio]:
        """Speak many texts at once, one voice each; row i equals a single run with its seed."""
        from pocket_tts_jax.batch import generate_batch

        return generate_batch(self, voices, texts, seeds, max_tokens, text)

    def warmup(self) -> None:
        """Compile all that generation runs, so that no request waits for it."""
        self.engine.warmup(self.sampler_decode_steps)


def export_model_state(model_state: VoiceState, dest: str | Path) -> None:
    """Write a voice to a `.safetensors` file, which the reference reads back too."""
    write_voice(dest, model_state)
