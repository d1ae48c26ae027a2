"""A chapter's speech on disk, block by block, so that a long book can be interrupted.

`NAME.i16` has the samples (24 kHz mono, 16 bits). `NAME.jsonl` has a line for each block, with its
number of samples and its words. An incomplete block is spoken again.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.files.atomic import atomic_file
from pocket_tts_jax.shapes import Float

_BLOCK = 1 << 18


@dataclass(frozen=True)
class SpokenBlock:
    """A spoken block of a chapter. `samples` includes the silence after it. `words` are in seconds
    from the start of the block and characters of its text."""

    samples: int
    words: tuple[SpokenWord, ...]


class Recording:
    """The speech of one chapter. Not for use by several processes at once."""

    def __init__(self, folder: Path, name: str, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._pcm, self._index = folder / f"{name}.i16", folder / f"{name}.jsonl"
        self.blocks = self._read()
        with atomic_file(self._index) as index:  # without an incomplete last line
            index.write("".join(map(_line, self.blocks)).encode())
        with open(self._pcm, "ab") as file:
            file.truncate(2 * self.samples)

    @property
    def samples(self) -> int:
        return sum(block.samples for block in self.blocks)

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate

    def add(self, audio: Sequence[Float[np.ndarray, " n"]], words: Sequence[SpokenWord]) -> None:
        """Append a block's samples, then its line in the index."""
        values = np.concatenate([np.zeros(0, np.float32), *audio])
        with open(self._pcm, "ab") as file:
            file.write((np.clip(values, -1, 1) * 32767).round().astype("<i2").tobytes())
        block = SpokenBlock(len(values), tuple(words))
        with open(self._index, "a", encoding="utf-8") as index:
            index.write(_line(block))
        self.blocks.append(block)

    def audio(self) -> Iterator[Float[np.ndarray, " n"]]:
        """All samples, in pieces."""
        with open(self._pcm, "rb") as file:
            while data := file.read(_BLOCK):
                yield np.frombuffer(data, "<i2").astype(np.float32) / 32767

    def words(self) -> list[tuple[int, SpokenWord]]:
        """(block, word), in seconds from the start of the chapter and characters of the block."""
        found, passed = [], 0
        for number, block in enumerate(self.blocks):
            seconds = passed / self.sample_rate
            found += [(number, word.later(seconds)) for word in block.words]
            passed += block.samples
        return found

    def _read(self) -> list[SpokenBlock]:
        """The blocks whose samples are on disk."""
        if not self._index.exists() or not self._pcm.exists():
            return []
        there, blocks = self._pcm.stat().st_size // 2, []
        for line in self._index.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break
            there -= row["samples"]
            if there < 0:
                break
            words = tuple(SpokenWord(**word) for word in row["words"])
            blocks.append(SpokenBlock(row["samples"], words))
        return blocks


def _line(block: SpokenBlock) -> str:
    row = {"samples": block.samples, "words": [asdict(word) for word in block.words]}
    return json.dumps(row, ensure_ascii=False) + "\n"
