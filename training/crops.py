"""Stretches of speech to train a codec on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from training.frames import LATENT_DIM, FrameStream, open_streams, read_latents

FRAMES = 14  # of one training crop


class Batch(NamedTuple):
    """b stretches of n frames."""

    latents: Float[np.ndarray, "b n z"]
    audio: Float[np.ndarray, "b samples"]
    real: Float[np.ndarray, " b"]  # 1 where the latents are the recording's, 0 where FlowLM's


class Crops:
    """Random stretches of the streams that touch no held-out utterance, the same for the same
    (seed, step) and data. A share `forced` of them has FlowLM's latents; without `with_latents`
    there is only sound."""

    def __init__(
        self, folder: Path, frames: int = FRAMES, forced: float = 0.0, with_latents: bool = True
    ) -> None:
        self.folder, self.frames, self.share = folder, frames, forced
        self.with_latents = with_latents
        self.reload()

    def reload(self) -> int:
        """Takes in what has been added; returns the number of frames there are now."""
        self.streams = open_streams(self.folder)
        self.latents = [s.latents if self.with_latents else _nothing(s) for s in self.streams]
        self.forced = [read_latents(s.forced_path) for s in self.streams]
        self.starts = [
            self._starts(s, len(said)) for s, said in zip(self.streams, self.latents, strict=True)
        ]
        self.forced_starts = [
            self._starts(s, len(said)) for s, said in zip(self.streams, self.forced, strict=True)
        ]
        for kind, starts in (("training.mel_codec encode", self.starts),) + (
            (("training.forced", self.forced_starts),) if self.share else ()
        ):
            if not sum(map(len, starts)):
                raise FileNotFoundError(f"{self.folder} has no such latents: run python -m {kind}")
        return sum(map(len, self.latents))

    def _starts(self, stream: FrameStream, known: int) -> Int[np.ndarray, " n"]:
        """Where a stretch may begin, of the first `known` frames."""
        usable = np.zeros(min(known, len(stream.pcm)), bool)
        for u in stream.utterances:
            usable[u.first : u.first + u.frames] = not u.held_out
        if len(usable) < self.frames:
            return np.zeros(0, np.int64)
        whole = np.lib.stride_tricks.sliding_window_view(usable, self.frames).all(1)
        return np.flatnonzero(whole)

    def batch(self, seed: int, step: int, rows: int) -> Batch:
        draw = np.random.default_rng([seed, step])
        latents, audio, real = [], [], []
        for _ in range(rows):
            is_forced = bool(draw.random() < self.share)
            starts = self.forced_starts if is_forced else self.starts
            sizes = np.array([len(s) for s in starts])
            i = draw.choice(len(sizes), p=sizes / sizes.sum())
            first = int(draw.choice(starts[i]))
            said = self.forced[i] if is_forced else self.latents[i]
            latents.append(said[first : first + self.frames])
            audio.append(self.streams[i].audio(first, self.frames))
            real.append(not is_forced)
        return Batch(np.stack(latents), np.stack(audio), np.array(real, np.float32))


def _nothing(stream: FrameStream) -> Float[np.ndarray, "t 32"]:
    return np.broadcast_to(np.zeros(1, np.float32), (len(stream.pcm), LATENT_DIM))
