"""`TTSModel`: a model that speaks, with the JAX or the LiteRT engine.

Names and arguments are those of the reference's Python interface. Audio is NumPy arrays instead of
tensors, and a voice is a `VoiceState` instead of a dictionary. Generation never changes a voice.
"""

import logging
import secrets
import threading
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from pathlib import Path
from typing import overload

import numpy as np

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.audio.tags import Tags
from pocket_tts_jax.errors import ConfigError, TextError
from pocket_tts_jax.generation.batch import Request, speak_requests
from pocket_tts_jax.generation.engine import Audio, Engine, OnChunk, OnWord
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.generation.stream import stream
from pocket_tts_jax.open_model import DEVICE_ALIASES, ModelOptions, open_model
from pocket_tts_jax.text.pipeline import Cutter, Item, TextOptions, iter_prompts
from pocket_tts_jax.text.stream import iter_pieces
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.voice.cache import PromptCache
from pocket_tts_jax.voice.load import VoiceLoader, VoiceSource
from pocket_tts_jax.voice.state import VoiceState, write_voice
from pocket_tts_jax.weights.source import ModelSource

_log = logging.getLogger(__name__)


class TTSModel:
    """A model in memory. Make one with `load_model`.

    Thread-safe: concurrent generations share the weights and nothing else.

    temp: variance of the noise, 0 or more. sampler_decode_steps: steps of the flow head, 1 or
    more. noise_clamp: largest noise, above 0, or None for no limit. eos_threshold: logit above
    which speech ends. None takes the model's own value.
    """

    def __init__(
        self,
        source: ModelSource,
        engine: Engine,
        *,
        temp: float | None = None,
        sampler_decode_steps: int = 1,
        noise_clamp: float | None = None,
        eos_threshold: float | None = None,
    ):
        config, bins = source.config, source.config.flow_lm.lookup_table.n_bins
        self.source, self.engine, self.config = source, engine, config
        self.tokenizer = load_tokenizer(source.tokenizer_kind, source.tokenizer, bins)
        self.temp = config.default_temperature if temp is None else temp
        self.sampler_decode_steps = sampler_decode_steps
        self.noise_clamp = noise_clamp
        self.eos_threshold = (
            config.default_eos_threshold if eos_threshold is None else eos_threshold
        )
        self.sampling(seed=0)  # refuses impossible options before there is a text
        engine.check_flow_steps(sampler_decode_steps)
        self._voices = VoiceLoader(source, engine)

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
        engine: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        workers: int = 0,
        offline: bool = False,
        compilation_cache: bool = True,
        on_notice: Callable[[str], None] = _log.warning,
    ) -> "TTSModel":
        """Load a model: without `language`, `config` or `model`, the voice in this package.

        language: name of a published model ("english", "french_24l"), fetched from the Hub once.
        config: path, `https://` or `hf://` address of a YAML file.
        temp, sampler_decode_steps, noise_clamp, eos_threshold: see `TTSModel`.
        quantize: require a model in int8 or less; it is exported now if there is no export yet.
        checkpoint: weights to use instead of those that `config` or `language` names, or of those
            of "english".
        model: a folder of a model or of an export, the weight file in it, or the `hf://` address
            of an export.
        engine: "jax", "litert", or "auto" for LiteRT where there is an export and JAX elsewhere.
        device: "cpu", or "gpu" ("cuda") or "tpu" for JAX. Several devices share batches.
        threads: number of threads that compute; None is 2 with LiteRT, all processors with JAX.
        workers: number of processes, of one thread each, that speak in place of this one (LiteRT).
            Many streams at once gain by one for each processor; a single one is slower.
        offline: never use the network.
        compilation_cache: keep compiled code or packed weights in the user's cache folder, for
            the next process.
        on_notice: called with lines for the user, such as the file that is fetched.

        Raises ConfigError, CheckpointError or DownloadError, each saying what to do. The error for
        a missing file is also a FileNotFoundError.
        """
        if lsd_decode_steps is not None:
            warnings.warn(
                "lsd_decode_steps is now called sampler_decode_steps",
                DeprecationWarning,
                stacklevel=2,
            )
            sampler_decode_steps = lsd_decode_steps
        options = ModelOptions(
            language=language,
            config=config,
            model=model,
            checkpoint=checkpoint,
            engine=engine,
            device=device,
            threads=threads,
            workers=workers,
            quantize=quantize,
            offline=offline,
            compilation_cache=compilation_cache,
        )
        opened = open_model(options, on_notice)
        return cls(
            opened.source,
            opened.engine,
            temp=temp,
            sampler_decode_steps=sampler_decode_steps,
            noise_clamp=noise_clamp,
            eos_threshold=eos_threshold,
        )

    @property
    def device(self) -> str:
        """Platform that computes: "cpu", "gpu" or "tpu"."""
        return self.engine.device

    def to(self, device: object) -> "TTSModel":
        """Returns the model, for code written for PyTorch. Raises ConfigError for another device
        than the model's."""
        name = str(device).partition(":")[0]
        name = DEVICE_ALIASES.get(name, name)
        if name != self.device:
            raise ConfigError(
                f"This model computes on the {self.device}: name the device when it is loaded, "
                f"TTSModel.load_model(device={name!r})."
            )
        return self

    def eval(self) -> "TTSModel":
        """Returns the model, for code written for PyTorch. It has no effect."""
        return self

    @property
    def sample_rate(self) -> int:
        """Samples per second of all audio in and out of the model (24,000)."""
        return self.config.mimi.sample_rate

    @property
    def frame_size(self) -> int:
        """Samples of one frame of generated audio (1920: 80 ms)."""
        return self.config.mimi.frame_size

    @property
    def has_voice_cloning(self) -> bool:
        """Whether a recording can be a voice."""
        return self.source.has_voice_cloning

    def voice_names(self) -> list[str]:
        """Names of voices for `get_state_for_audio_prompt`."""
        return self._voices.names()

    def default_voice(self) -> str:
        """The name of this model's default voice. Raises VoiceError if it has no voice."""
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
        rate, or an array or `torch.Tensor` [channels, samples] at the model's rate). `truncate`
        keeps the first 30 s of a recording. Encoded recordings are kept on disk;
        `PromptCache(enabled=False)` as `cache` disables that.

        Raises VoiceError, and VoiceCloningUnavailable for a recording if the model has no encoder.
        The error for a missing file is also a FileNotFoundError.
        """
        return self._voices.load(audio_conditioning, truncate=truncate, cache=cache)

    def tags(self, voice: str) -> Tags:
        """Tags for a file of this model's speech, for `write_audio`. `voice` is the user's name of
        the voice; of a path, only the name of the file is kept."""
        return Tags(
            model=self.source.name,
            voice=Path(voice).name,
            engine=self.engine.name,
            precision=self.engine.precision,
            fingerprint=self.engine.transformer_fingerprint,
        )

    def check_voice(self, voice: VoiceState) -> None:
        """Raise VoiceError for a voice that was made for another model."""
        self._voices.check(voice)

    def prompts(
        self,
        text: str | Iterable[str],
        max_tokens: int | None = None,
        options: TextOptions | None = None,
        first_chunk: int = 0,
        *,
        words: bool = False,
    ) -> Iterator[Item]:
        """The chunks of `text`, each with its tokens and limits (and with `words` its words), and
        the pauses between them. For a text in pieces, each as soon as it is complete."""
        if isinstance(text, str):
            return iter_prompts(
                *(text, self.tokenizer, self.source, options, max_tokens, first_chunk), words=words
            )
        if first_chunk:
            raise TextError("A text in pieces is spoken from its beginning: leave first_chunk out.")
        cutter = Cutter(self.tokenizer, self.source, options, max_tokens)
        return iter_pieces(text, cutter, words=words)

    def sampling(self, seed: int | None = None, frames_after_eos: int | None = None) -> Sampling:
        """The model's sampling options for one generation. `seed` None draws one;
        `frames_after_eos` None takes each prompt's own."""
        return Sampling(
            seed=secrets.randbits(63) if seed is None else seed,
            temperature=self.temp,
            eos_threshold=self.eos_threshold,
            noise_clamp=self.noise_clamp,
            frames_after_eos=frames_after_eos,
            flow_steps=self.sampler_decode_steps,
        )

    def warmup(self) -> None:
        """Compile or load all that generation needs, so that no request waits for it."""
        self.engine.warmup(self.sampler_decode_steps, self.source.settings.max_tokens)

    def generate_audio(
        self,
        model_state: VoiceState,
        text_to_generate: str | Iterable[str],
        max_tokens: int | None = None,
        frames_after_eos: int | None = None,
        copy_state: bool = True,
        *,
        seed: int | None = None,
        text: TextOptions | None = None,
    ) -> Audio:
        """Speak a text. Returns all samples, [samples] float32 in [-1, 1].

        Arguments, errors and the samples for a seed are those of `generate_audio_stream`.
        """
        frames = self.generate_audio_stream(
            *(model_state, text_to_generate, max_tokens, frames_after_eos, copy_state),
            seed=seed,
            text=text,
        )
        return np.concatenate([np.empty(0, np.float32), *frames])

    def generate_audio_with_times(
        self,
        model_state: VoiceState,
        text_to_generate: str,
        max_tokens: int | None = None,
        frames_after_eos: int | None = None,
        *,
        seed: int | None = None,
        text: TextOptions | None = None,
    ) -> tuple[Audio, list[SpokenWord]]:
        """`generate_audio`, and the words of the text with their times, in order."""
        words: list[SpokenWord] = []
        frames = self.generate_audio_stream(
            *(model_state, text_to_generate, max_tokens, frames_after_eos),
            seed=seed,
            text=text,
            on_word=words.append,
        )
        return np.concatenate([np.empty(0, np.float32), *frames]), words

    @overload
    def generate_audio_stream(
        self,
        model_state: VoiceState,
        text_to_generate: str | Iterable[str],
        max_tokens: int | None = None,
        frames_after_eos: int | None = None,
        copy_state: bool = True,
        stop: threading.Event | None = None,
        *,
        seed: int | None = None,
        text: TextOptions | None = None,
        first_chunk: int = 0,
        on_chunk: OnChunk | None = None,
        on_word: OnWord | None = None,
    ) -> Generator[Audio, None, None]: ...

    @overload
    def generate_audio_stream(
        self,
        model_state: VoiceState,
        text_to_generate: AsyncIterable[str],
        max_tokens: int | None = None,
        frames_after_eos: int | None = None,
        copy_state: bool = True,
        stop: threading.Event | None = None,
        *,
        seed: int | None = None,
        text: TextOptions | None = None,
        first_chunk: int = 0,
        on_chunk: OnChunk | None = None,
        on_word: OnWord | None = None,
    ) -> AsyncGenerator[Audio, None]: ...

    def generate_audio_stream(
        self,
        model_state: VoiceState,
        text_to_generate: str | Iterable[str] | AsyncIterable[str],
        max_tokens: int | None = None,
        frames_after_eos: int | None = None,
        copy_state: bool = True,
        stop: threading.Event | None = None,
        *,
        seed: int | None = None,
        text: TextOptions | None = None,
        first_chunk: int = 0,
        on_chunk: OnChunk | None = None,
        on_word: OnWord | None = None,
    ) -> Generator[Audio, None, None] | AsyncGenerator[Audio, None]:
        """Speak a text. Yields each 80 ms frame (1920 samples, float32) as soon as it is made.

        The text may also come in pieces, such as a language model's answer: from an iterator, which
        a thread reads when it needs more text, or from an async iterator, for which this returns an
        async generator. The samples do not depend on where the pieces are cut. A chunk is spoken
        when it is complete, the first one sooner with `TextOptions(early_start=True)`. Closing the
        generator waits for the piece that the thread is reading.

        max_tokens: longest chunk of text, in tokens; None takes the model's own (50 for Kyutai's).
        frames_after_eos: frames spoken after the model's end; None chooses it by the text.
        copy_state: accepted for code written for the reference; it has no effect, because speaking
            never changes a voice.
        stop: set it to end the stream within two frames; closing the generator does the same.
        seed: 0 to 2**64 - 1; the same seed gives the same bytes. None draws one.
        text: reading of numbers, a lexicon, pauses (see `TextOptions`); by default what the model
            asks for, which is nothing for Kyutai's.
        first_chunk: number of chunks to skip, to resume a long text; the rest does not change.
        on_chunk: called with a `ChunkReport` after each chunk.
        on_word: called with a `SpokenWord` for each word of the text, at most 0.5 s of audio after
            the word's end; words that the model has no sound for are left out.

        Raises at the call TextError for a text with nothing to speak and VoiceError for a voice of
        another model, and GenerationError during generation.
        """
        if isinstance(text_to_generate, AsyncIterable):
            from pocket_tts_jax.generation.threaded import speak_pieces  # it imports asyncio

            def speak(pieces: Iterator[str], closing: threading.Event) -> Iterator[Audio]:
                return self.generate_audio_stream(
                    model_state,
                    pieces,
                    max_tokens,
                    frames_after_eos,
                    copy_state,
                    closing,
                    seed=seed,
                    text=text,
                    first_chunk=first_chunk,
                    on_chunk=on_chunk,
                    on_word=on_word,
                )

            return speak_pieces(text_to_generate, speak, stop)
        self.check_voice(model_state)
        words = on_word is not None
        prompts = self.prompts(text_to_generate, max_tokens, text, first_chunk, words=words)
        return stream(
            self.engine,
            model_state,
            prompts,
            self.sampling(seed, frames_after_eos),
            first_chunk=first_chunk,
            stop=stop,
            on_chunk=on_chunk,
            on_word=on_word,
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
        """Speak many texts at once: `texts[i]` with `voices[i]` and `seeds[i]`.

        Returns one array [samples] for each text. Row i equals a single run with its seed, up to
        rounding. Raises ConfigError if the numbers of texts, voices and seeds differ.
        """
        seeds = [secrets.randbits(63) for _ in texts] if seeds is None else list(seeds)
        if not len(texts) == len(voices) == len(seeds):
            raise ConfigError(
                f"A batch needs one voice and one seed for each text: got {len(texts)} texts, "
                f"{len(voices)} voices and {len(seeds)} seeds."
            )
        for voice in voices:
            self.check_voice(voice)
        requests = [
            Request(self.prompts(row, max_tokens, text), voice, self.sampling(seed))
            for row, voice, seed in zip(texts, voices, seeds, strict=True)
        ]
        return speak_requests(self.engine, requests)


def export_model_state(model_state: VoiceState, dest: str | Path) -> None:
    """Write a voice to a `.safetensors` file, which the reference can read. Raises VoiceError."""
    write_voice(dest, model_state)
