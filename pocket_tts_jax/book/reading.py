"""Speaks a book block by block into a folder, and continues an earlier run."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.audio.stretch import TimeStretch
from pocket_tts_jax.book.contents import HEADING, Block, Book
from pocket_tts_jax.book.recording import Recording
from pocket_tts_jax.errors import ConfigError, TextError
from pocket_tts_jax.files.atomic import atomic_file

if TYPE_CHECKING:
    from pocket_tts_jax.text.pipeline import TextOptions
    from pocket_tts_jax.tts_model import TTSModel
    from pocket_tts_jax.voice.state import VoiceState

_log = logging.getLogger(__name__)
BEHIND_PARAGRAPH, BEHIND_HEADING = 0.6, 1.0  # seconds of silence


@dataclass(frozen=True)
class Reader:
    """The model, the voice and all options of a reading."""

    model: "TTSModel"
    voice: "VoiceState"
    seed: int
    speed: float = 1.0
    options: "TextOptions | None" = None

    def read(self, block: Block) -> tuple[list[np.ndarray], list[SpokenWord]]:
        """A block's samples, including the silence after it, and its words."""
        stretch = TimeStretch(self.speed, self.model.sample_rate)
        try:
            audio, words = self.model.generate_audio_with_times(
                self.voice, block.text, seed=self.seed, text=self.options
            )
        except TextError as error:
            _log.warning("%r is left out: %s", block.text[:60], error)
            return [], []
        silence = BEHIND_HEADING if block.kind == HEADING else BEHIND_PARAGRAPH
        pause = np.zeros(round(silence * self.model.sample_rate), np.float32)
        pieces = [stretch.push(audio), stretch.finish(), pause]
        return pieces, [word.at_speed(self.speed) for word in words]


def read_aloud(
    book: Book,
    reader: Reader,
    folder: Path,
    on_block: Callable[[int, int], None] = lambda chapter, block: None,
) -> list[Recording]:
    """The recordings of all chapters in `folder`; existing ones are kept.

    `on_block` is called with the chapter and block that are read next, both from 0.
    """
    recordings = []
    for number, chapter in enumerate(book.chapters):
        recording = Recording(folder, f"chapter-{number + 1:03}", reader.model.sample_rate)
        for i in range(len(recording.blocks), len(chapter.blocks)):
            on_block(number, i)
            recording.add(*reader.read(chapter.blocks[i]))
        recordings.append(recording)
    return recordings


def claim_folder(
    folder: Path, book: Book, settings: dict[str, Any], fresh: dict[str, Any]
) -> dict[str, Any]:
    """Make or open the folder of an unfinished book. Returns the settings of its first run.

    A setting that is None takes the folder's value, or that of `fresh` in a new folder. Raises
    ConfigError if the book or a setting differs from the folder's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "book.json"
    text = hashlib.sha256(json.dumps(asdict(book)).encode()).hexdigest()
    if not path.exists():
        settings = {k: fresh.get(k) if v is None else v for k, v in settings.items()}
        with atomic_file(path) as file:
            file.write(json.dumps({"text": text} | settings, indent=1).encode())
        return settings
    begun = json.loads(path.read_text(encoding="utf-8"))
    differing = [k for k, v in settings.items() if v is not None and begun.get(k) != v]
    if begun.get("text") != text:
        differing.insert(0, "text")
    if differing:
        raise ConfigError(
            f"{folder} holds the beginning of this book with another {', '.join(differing)}: give "
            "the same options to go on with it, or delete the folder to begin again."
        )
    return {name: begun[name] for name in settings}
