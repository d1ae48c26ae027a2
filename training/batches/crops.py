"""Stretches of speech to train a codec on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from training.data.streams import LATENT_DIM, FrameStream, open_streams

FRAMES = 14  # of one training crop
# Of the crops, how many begin where an utterance does: there all speech begins, from a fresh state.
OPENINGS = 0.25


class Batch(NamedTuple):
    """b stretches of n frames."""

    latents: Float[np.ndarray, "b n z"]
    audio: Float[np.ndarray, "b samples"]


class Crops:
    """Random stretches of the streams that touch no held-out utterance, the same for the same
    (seed, step) and data. Without `with_latents` there is only sound, and zeros beside it."""

    def __init__(self, folder: Path, frames: int = FRAMES, with_latents: bool = True) -> None:
        self.folder, self.frames, self.with_latents = folder, frames, with_latents
        self.reload()

    def reload(self) -> int:
        """Read the folder again; returns the number of frames it has now."""
        self.streams = open_streams(self.folder)
        self.latents = [s.latents if self.with_latents else _nothing(s) for s in self.streams]
        pairs = zip(self.streams, self.latents, strict=True)
        self.starts = [self._starts(stream, len(latents)) for stream, latents in pairs]
        if not sum(map(len, self.starts)):
            raise FileNotFoundError(
                f"{self.folder} has no stretch of {self.frames} frames to train on. Add longer "
                "utterances that are not held out"
                + (", and run python -m training.mel_codec encode." if self.with_latents else ".")
            )
        self.openings = [
            np.intersect1d(starts, [u.first for u in stream.utterances])
            for starts, stream in zip(self.starts, self.streams, strict=True)
        ]
        return sum(map(len, self.latents))

    def _starts(self, stream: FrameStream, known: int) -> Int[np.ndarray, " n"]:
        """Where a stretch may begin, of the first `known` frames."""
        usable = np.zeros(min(known, len(stream.pcm)), bool)
        for u in stream.training_utterances(known):
            usable[u.first : u.first + u.frames] = True
        if len(usable) < self.frames:
            return np.zeros(0, np.int64)
        whole = np.lib.stride_tricks.sliding_window_view(usable, self.frames).all(1)
        return np.flatnonzero(whole)

    def batch(self, seed: int, step: int, rows: int) -> Batch:
        draw = np.random.default_rng([seed, step])
        sizes = np.array([len(starts) for starts in self.starts])
        latents, audio = [], []
        for _ in range(rows):
            i = draw.choice(len(sizes), p=sizes / sizes.sum())
            opens = len(self.openings[i]) and draw.random() < OPENINGS
            first = int(draw.choice(self.openings[i] if opens else self.starts[i]))
            latents.append(self.latents[i][first : first + self.frames])
            audio.append(self.streams[i].audio(first, self.frames))
        return Batch(np.stack(latents), np.stack(audio))


def _nothing(stream: FrameStream) -> Float[np.ndarray, "t z"]:
    return np.broadcast_to(np.zeros(1, np.float32), (len(stream.pcm), LATENT_DIM))
