"""Loads a voice from its name, a voice file or a recording."""

import logging
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pocket_tts_jax.audio.read import read_audio
from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import VoiceCloningUnavailable, VoiceError
from pocket_tts_jax.files.hub import is_remote, resolve
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.voice.cache import PromptCache, default_cache, prompt_key
from pocket_tts_jax.voice.published import PREDEFINED, default_voice, predefined_voice
from pocket_tts_jax.voice.recording import prepare_prompt
from pocket_tts_jax.voice.state import VoicePrompt, VoiceState, check_voice, read_voice
from pocket_tts_jax.weights.source import ModelSource

_log = logging.getLogger(__name__)


class Tensor(Protocol):
    """A `torch.Tensor`, as far as it is needed: this package does not import torch."""

    def detach(self) -> Any: ...
    def numpy(self) -> np.ndarray: ...


# An array without a rate is [samples] or [channels, samples] at the model's rate.
VoiceSource = str | Path | bytes | np.ndarray | tuple[np.ndarray, int] | Tensor
_LOAD_ENGLISH = 'TTSModel.load_model("english") (on the command line --language english)'
_LOOKS_LIKE_PATH = re.compile(r"[/\\.]")


class VoiceMaker(Protocol):
    """The part of an engine that makes voices.

    `transformer_fingerprint` identifies the weights of FlowLM's transformer, which a voice state
    belongs to. `weights_fingerprint` identifies all weights that turn a recording into a voice.
    """

    @property
    def config(self) -> Config: ...
    @property
    def transformer_fingerprint(self) -> str: ...
    @property
    def weights_fingerprint(self) -> str: ...
    def encode(
        self, audio: Float[np.ndarray, " samples"]
    ) -> Float[np.ndarray, "frames encoded"]: ...
    def voice_from_latents(self, encoded: Float[np.ndarray, "frames encoded"]) -> VoiceState: ...
    def voice_from_embeddings(self, embeddings: Float[np.ndarray, "t d"]) -> VoiceState: ...


def is_name(voice: str) -> bool:
    """Whether `voice` can only be the name of a voice, not a path or an address."""
    return not _LOOKS_LIKE_PATH.search(voice)


def is_voice_file(voice: str | Path) -> bool:
    """Whether a path or an address is one of a voice file: by its ending, or by what a file
    without one begins with."""
    name = _without_revision(voice)
    if name.endswith(".safetensors") or is_remote(voice) or Path(name).suffix:
        return name.endswith(".safetensors")
    try:
        with open(Path(name).expanduser(), "rb") as file:
            return file.read(9)[8:] == b"{"  # behind the length of safetensors' header
    except (OSError, RuntimeError, ValueError):
        return False


class VoiceLoader:
    """Loads voices for one model."""

    def __init__(self, source: ModelSource, engine: VoiceMaker):
        self._source, self._engine = source, engine

    def names(self) -> list[str]:
        """Names of voices: those in the model's folder and, for a published model, Kyutai's."""
        published = sorted(PREDEFINED) if self._source.published else []
        return self._source.voice_names() + published

    def default(self) -> str:
        """The voice used if the user names none. Raises VoiceError if the model has no voice."""
        source, names = self._source, self._source.voice_names()
        if source.settings.default_voice is not None:
            return source.settings.default_voice
        if source.published is not None:
            return default_voice(source.published)
        if names:
            return names[0]
        if source.voices is None and source.has_voice_cloning:  # a configuration of one's own
            return PREDEFINED[default_voice("")].recording
        raise VoiceError(
            f"The model {source.name} comes with no voice. Name one with --voice: a recording of "
            "a few seconds, or a .safetensors voice made for this model."
        )

    def load(
        self, voice: VoiceSource, *, truncate: bool = False, cache: PromptCache | None = None
    ) -> VoiceState:
        if isinstance(voice, str) and (known := self._known(voice)) is not None:
            return self._read(known)
        if isinstance(voice, str | Path) and is_voice_file(voice):
            return self._read(self._resolve(voice, "the voice"))
        if isinstance(voice, str) and is_name(voice):
            raise VoiceError(self._unknown(voice))
        if isinstance(voice, str | Path) and Path(voice).suffix in (".pt", ".pth"):
            raise VoiceError(
                f"{voice} is a PyTorch file. A voice is a recording, or a .safetensors file that "
                "`export-voice` (of this program or of pocket-tts) makes from one."
            )
        if not self._source.has_voice_cloning:
            raise VoiceCloningUnavailable(self._cannot_clone())
        return self._clone(_without_torch(voice), truncate, cache or default_cache())

    def check(self, voice: VoiceState) -> None:
        """Raise VoiceError for a voice of another model."""
        fingerprint = self._engine.transformer_fingerprint
        check_voice(voice, self._source.config, self._source.name, fingerprint)

    def _known(self, name: str) -> Path | None:
        """The file of the voice `name` for these weights; None for an unknown name."""
        path = self._source.voice_file(name)
        if path is not None or name not in PREDEFINED:
            return path
        published = self._source.published
        if published is None:
            raise VoiceError(
                f"{name!r} is a voice of Kyutai's published models and does not fit the weights "
                f"of {self._source.name}: {_LOAD_ENGLISH} has it. {self._choices()}"
            )
        return self._resolve(predefined_voice(published, name), f"the voice {name}")

    def _resolve(self, source: str | Path, what: str) -> Path:
        return resolve(source, what=what, offline=self._source.offline)

    def _read(self, path: Path) -> VoiceState:
        voice = read_voice(
            path,
            self._source.config,
            model=self._source.name,
            model_fingerprint=self._engine.transformer_fingerprint,
        )
        if isinstance(voice, VoicePrompt):
            return self._engine.voice_from_embeddings(voice.embeddings)
        return voice

    def _clone(
        self, recording: str | Path | bytes | np.ndarray | tuple, truncate: bool, cache: PromptCache
    ) -> VoiceState:
        rate = self._engine.config.mimi.sample_rate
        if isinstance(recording, str) and is_remote(recording):
            recording = self._resolve(recording, "the recording")
        if isinstance(recording, str):
            recording = Path(recording).expanduser()
        if isinstance(recording, np.ndarray):
            recording = (recording, rate)
        audio, given_rate = read_audio(recording)
        key = prompt_key(audio, given_rate, self._engine.weights_fingerprint, truncate=truncate)
        found = cache.get(key)
        made_by = self._engine.transformer_fingerprint
        if found is not None and found.metadata.get("fingerprint") == made_by:
            return found
        prompt, report = prepare_prompt(audio, given_rate, truncate=truncate, sample_rate=rate)
        for warning in report.warnings:
            _log.warning("The recording: %s", warning)
        voice = self._engine.voice_from_latents(self._engine.encode(prompt))
        metadata = {
            "model": self._source.name,
            "fingerprint": made_by,
            "seconds": f"{report.used_seconds:.2f}",
        }
        voice = VoiceState(voice.k, voice.v, voice.latents, metadata)
        cache.put(key, voice)
        return voice

    def _choices(self) -> str:
        names = self.names()
        known = f"Its voices are {', '.join(names)}. " if names else ""
        files = "A recording or a" if self._source.has_voice_cloning else "A"
        return f"{known}{files} .safetensors voice made for it works too."

    def _unknown(self, name: str) -> str:
        return f"The model {self._source.name} has no voice called {name!r}. {self._choices()}"

    def _cannot_clone(self) -> str:
        if self._source.published is None:
            return (
                f"The model {self._source.name} has no encoder for recordings, so it cannot take "
                f"one as its voice: {_LOAD_ENGLISH} can. {self._choices()}"
            )
        return (
            "The weights in use cannot clone a voice from a recording: they are the open ones. "
            "For the full ones accept the terms at https://huggingface.co/kyutai/pocket-tts, log "
            f"in with `hf auth login`, and load the model again. {self._choices()}"
        )


def _without_torch(voice: Any) -> Any:
    """`voice`, with NumPy's array in place of a tensor, alone or with its rate."""
    if isinstance(voice, tuple):
        return tuple(map(_without_torch, voice))
    if isinstance(voice, np.ndarray) or not hasattr(voice, "detach"):
        return voice
    tensor: Any = voice.detach()
    return np.asarray((tensor.cpu() if hasattr(tensor, "cpu") else tensor).numpy())


def _without_revision(source: str | Path) -> str:
    """The address without `@revision` and query, so that its ending can be checked."""
    text = str(source)
    if text.startswith("hf://"):
        return text.rsplit("@", 1)[0]
    return text.split("?", 1)[0] if is_remote(text) else text
