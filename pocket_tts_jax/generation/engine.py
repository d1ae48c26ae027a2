"""The protocol of an engine, which the JAX and LiteRT engines follow."""

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.generation.ending import ChunkReport
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.load import VoiceMaker
from pocket_tts_jax.voice.state import VoiceState

Audio = Float[np.ndarray, " samples"]
OnChunk = Callable[[ChunkReport], None]
OnWord = Callable[[SpokenWord], None]


class Step(NamedTuple):
    """One frame: the latent as the decoder takes it, the logit of "speech ends here", and what the
    alignment heads looked at while it was made: shares of each token of the chunk, at most 1 in
    all."""

    latent: Float[np.ndarray, " z"]
    eos_logit: float
    attention: Float[np.ndarray, "heads tokens"]


class Latents(Protocol):
    """FlowLM after the prefill of one chunk."""

    def step(self, noise: Float[np.ndarray, " z"]) -> Step:
        """The next frame. Noise in, no randomness."""
        ...


class Decoder(Protocol):
    """Mimi's decoder within one chunk; it keeps its state from call to call."""

    def decode(self, latents: Float[np.ndarray, "n z"]) -> Audio:
        """The samples of the next `n` frames, n one of 1, 2, 4, 8."""
        ...


@dataclass(frozen=True)
class Job:
    """One chunk to speak. `chunk` is its index in its text; its noise depends on it."""

    chunk: int
    prompt: Prompt
    voice: VoiceState
    sampling: Sampling


class Worker(Protocol):
    """Another process that speaks with the same model."""

    def stream(
        self,
        voice: VoiceState,
        prompts: Iterable[Prompt | Pause],
        sampling: Sampling,
        *,
        first_chunk: int = 0,
        stop: threading.Event | None = None,
        on_chunk: OnChunk | None = None,
        on_word: OnWord | None = None,
    ) -> Generator[Audio, None, None]:
        """`generation.stream.stream` in that process."""
        ...


class Workers(Protocol):
    """The workers of an engine."""

    def __len__(self) -> int: ...

    def place(self) -> AbstractContextManager[Worker | None]:
        """Where to speak a stream, until the context ends: None is this process."""
        ...

    def close(self) -> None:
        """End them."""
        ...


class Engine(VoiceMaker, Protocol):
    """One model in memory, shared by all sessions. `name` is "jax" or "litert"."""

    @property
    def name(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def device(self) -> str:
        """The platform that computes: "cpu", "gpu" or "tpu"."""
        ...

    @property
    def workers(self) -> Workers | None:
        """Processes that speak in place of this one, if any."""
        ...

    @property
    def speech_fingerprint(self) -> str:
        """Identifies all weights that samples depend on."""
        ...

    def start(self, voice: VoiceState, prompt: Prompt, flow_steps: int) -> Latents:
        """Prefill the voice and a chunk of text."""
        ...

    def decoder(self) -> Decoder:
        """A decoder at the beginning of a chunk."""
        ...

    def speak(self, jobs: Sequence[Job]) -> list[Audio]:
        """The samples of every job; each equals its single run up to rounding."""
        ...

    def check_flow_steps(self, flow_steps: int) -> None:
        """Raise ConfigError for a number of flow steps that this engine cannot run."""
        ...

    def warmup(self, flow_steps: int, max_tokens: int) -> None:
        """Compile or load what chunks of `max_tokens` need, so that no request waits for it."""
        ...

    def close(self) -> None:
        """Free the model. Sessions that are still open fail at their next call."""
        ...
