"""The start and end of a chunk of speech: one rule for every generation loop."""

import logging
from dataclasses import dataclass

import numpy as np

from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.prepare import Prompt

_log = logging.getLogger(__name__)

# EOS is ignored on the first frames: before speech starts, the logit of some voices is high.
FRAMES_BEFORE_EOS = 6
FADE_IN_SECONDS = 0.005  # a fresh decoder starts with a small step, heard as a click


class EndOfSpeech:
    """Ends a chunk `frames_after_eos` frames after the first EOS logit above `threshold`.

    EOS is ignored on the first `FRAMES_BEFORE_EOS` frames.
    """

    def __init__(self, threshold: float, frames_after_eos: int):
        self.eos_frame: int | None = None
        self._threshold, self._tail = threshold, frames_after_eos

    @classmethod
    def of(cls, sampling: Sampling, prompt: Prompt) -> "EndOfSpeech":
        """The rule for one chunk: the user's `frames_after_eos`, or else the chunk's own."""
        tail = sampling.frames_after_eos
        return cls(sampling.eos_threshold, prompt.frames_after_eos if tail is None else tail)

    def reached(self, frame: int, eos_logit: float) -> bool:
        """Whether speech ends before `frame`; `eos_logit` is the logit of that frame."""
        if self.eos_frame is None and frame >= FRAMES_BEFORE_EOS and eos_logit > self._threshold:
            self.eos_frame = frame
        return self.eos_frame is not None and frame >= self.eos_frame + self._tail


@dataclass(frozen=True)
class ChunkReport:
    """How one chunk ended. `eos` is False if it reached its limit of frames instead."""

    index: int
    text: str
    tokens: int
    frames: int
    eos: bool


def warn_of_limit(report: ChunkReport) -> None:
    """Log a warning for a chunk that reached its limit."""
    if not report.eos:
        _log.warning(
            "Chunk %d reached its limit of %d frames before the model ended it; words may be "
            "missing or repeated. Its text: %r",
            *(report.index, report.frames, report.text),
        )


def fade_in(audio: Float[np.ndarray, "*b n"], sample_rate: int) -> Float[np.ndarray, "*b n"]:
    """Fade in the first 5 ms of a chunk linearly."""
    fade = np.linspace(0, 1, int(sample_rate * FADE_IN_SECONDS), dtype=np.float32)
    return np.concatenate([audio[..., : fade.size] * fade, audio[..., fade.size :]], axis=-1)
