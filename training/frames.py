"""Speech as a stream of whole latent frames on disk, ready for random access.

    python -m training.frames --shards data/ --out frames/

Takes the teacher's shards (or any folder in their form) and appends what is new: `NAME.pcm`
(int16, 1920 samples a frame) and `NAME.jsonl` (text, source, held_out, first, frames, speech,
ends, pieces). Each utterance is followed by `TAIL` silent frames, so that a model learns what to
say when nothing is left. Latents, once there is a codec, lie beside in `NAME.latents`, and the
fingerprint of that codec in `latents.codec`.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.weights.checkpoint import fingerprint
from training.data.teacher import read_shard
from training.losses.features import FRAME

TAIL = 4
SLACK = 240  # samples beyond a whole frame that are cut: the teacher's grid is a little coarse
LATENT_DIM = 32


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


def append_shard(shard: Path, out: Path) -> int:
    """Appends the utterances of `shard` that `out` lacks; returns how many."""
    out.mkdir(parents=True, exist_ok=True)
    index = out / f"{shard.stem}.jsonl"
    known = whole_lines(index)
    rows = [row for row in read_shard(shard) if row["samples"]][len(known) :]
    if not rows:
        return 0
    pcm = np.memmap(shard.with_suffix(".i16"), np.int16, "r")
    first = sum(json.loads(line)["frames"] for line in known)
    path = out / f"{shard.stem}.pcm"
    path.touch()
    index.touch()
    with open(path, "r+b") as audio_file, open(index, "r+b") as index_file:
        audio_file.truncate(first * FRAME * 2)  # what a kill has left behind the whole lines
        audio_file.seek(0, 2)
        index_file.truncate(sum(len(line) for line in known))
        index_file.seek(0, 2)
        for row in rows:
            audio = pcm[row["offset"] : row["offset"] + row["samples"]]
            speech = max(1, -(-(len(audio) - SLACK) // FRAME))
            frames = speech + TAIL
            audio = audio[: speech * FRAME]
            audio_file.write(np.pad(audio, (0, frames * FRAME - len(audio))).tobytes())
            entry = {k: row[k] for k in ("text", "source", "held_out", "ends")}
            entry["pieces"] = row.get("pieces")  # recordings that were not synthesised have none
            entry |= {"first": first, "frames": frames, "speech": speech}
            audio_file.flush()
            index_file.write(json.dumps(entry).encode() + b"\n")
            first += frames
    return len(rows)


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
            raise ValueError(f"{path} is empty. Delete it and run python -m training.frames again.")
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


def main() -> None:
    parser = argparse.ArgumentParser(description="shards of speech to frames")
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    shards = sorted(args.shards.glob("part*.jsonl"))
    if not shards:
        raise FileNotFoundError(
            f"There is no part*.jsonl in {args.shards}. Run python -m training.data.teacher."
        )
    for index in shards:
        print(index.stem, append_shard(index.with_suffix(""), args.out), "utterances added")


if __name__ == "__main__":
    main()
