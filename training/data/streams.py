"""Speech as streams of latent frames on disk: what `training.frames` writes, open for reading.

A stream `NAME` is `NAME.pcm` (int16, 1920 samples a frame), `NAME.jsonl` (its utterances) and,
once there is a codec, `NAME.latents`; `latents.codec` holds the fingerprint of that codec.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.weights.checkpoint import fingerprint
from training.data.spectra import FRAME
from training.errors import TrainingError

LATENT_DIM = 32
TAIL = 4  # silent frames behind each utterance


@dataclass(frozen=True)
class Utterance:
    text: str
    source: str
    held_out: bool
    first: int  # frame in the stream
    frames: int  # with the silent tail
    speech: int  # without it
    ends: tuple[float, ...] | None  # seconds at which the spoken tokens end
    pieces: tuple[str, ...] | None  # the tokens that were spoken
    speaker: str | None = None  # None is the one whom the start token leads


def whole_lines(index: Path) -> list[bytes]:
    """All lines but one that is cut off: another process may be writing it."""
    lines = index.read_bytes().splitlines(keepends=True) if index.exists() else []
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]


class FrameStream:
    """One shard's frames: memory-mapped audio and latents, and its utterances."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.folder = name, folder
        path = folder / f"{name}.pcm"
        if not path.stat().st_size:
            raise TrainingError(
                f"{path} is empty. Delete it and run python -m training.frames again."
            )
        self.pcm = np.memmap(path, np.int16, "r")
        self.pcm = self.pcm[: len(self.pcm) // FRAME * FRAME].reshape(-1, FRAME)
        self.latents_path = folder / f"{name}.latents"
        self.latents = read_latents(self.latents_path)
        self.utterances = []
        for line in whole_lines(folder / f"{name}.jsonl"):
            row = json.loads(line)
            if row["first"] + row["frames"] <= len(self.pcm):
                for key in ("ends", "pieces"):
                    row[key] = row.get(key) and tuple(row[key])
                self.utterances.append(Utterance(**row))

    def whole_utterances(self, frames: int) -> int:
        """Of so many frames, those that belong to complete utterances."""
        ends = [u.first + u.frames for u in self.utterances]
        return max((end for end in ends if end <= frames), default=0)

    def training_utterances(self, frames: int) -> list[Utterance]:
        """Of the first `frames`, the utterances that are not held out."""
        return [u for u in self.utterances if not u.held_out and u.first + u.frames <= frames]

    def append_latents(self, done: int, blocks: Iterable[Float[np.ndarray, "t z"]]) -> int:
        """Writes behind the first `done` latents, block by block, and drops what a kill has left
        there; returns how many were added."""
        added = 0
        self.latents_path.touch()
        with open(self.latents_path, "r+b") as file:
            file.truncate(done * LATENT_DIM * 4)
            file.seek(0, 2)
            for block in blocks:
                file.write(block.astype(np.float32).tobytes())
                file.flush()
                added += len(block)
        return added

    def audio(self, first: int, frames: int) -> Float[np.ndarray, " samples"]:
        return self.pcm[first : first + frames].reshape(-1).astype(np.float32) / 32768


def read_latents(path: Path) -> Float[np.ndarray, "t 32"]:
    """The whole latents of a file, memory-mapped; none where it is missing."""
    count = path.stat().st_size // (4 * LATENT_DIM) if path.exists() else 0
    if not count:
        return np.zeros((0, LATENT_DIM), np.float32)
    return np.memmap(path, np.float32, "r", shape=(count, LATENT_DIM))


def open_streams(folder: Path) -> list[FrameStream]:
    names = sorted(path.stem for path in folder.glob("*.pcm"))
    if not names:
        raise FileNotFoundError(f"There are no frames in {folder}. Run python -m training.frames.")
    streams = [FrameStream(folder, name) for name in names]
    if not any(stream.utterances for stream in streams):
        raise FileNotFoundError(
            f"There is no whole utterance in {folder}. Run python -m training.frames again."
        )
    return streams


def claim_latents(folder: Path, codec: Mapping[str, np.ndarray]) -> bool:
    """Notes whose latents those in `folder` are, and returns whether there are none yet.
    CheckpointError where another codec made them."""
    path, name = folder / "latents.codec", fingerprint(codec)
    fresh = not any(file.stat().st_size for file in folder.glob("*.latents"))
    found = path.read_text().strip() if path.exists() else "unknown"
    if found != name and not fresh:
        raise CheckpointError(
            f"The latents in {folder} are those of another codec (fingerprint {found}, this one's "
            f"is {name}). Delete {folder}/*.latents to encode all again, or give that codec."
        )
    path.write_text(name + "\n")
    return fresh
