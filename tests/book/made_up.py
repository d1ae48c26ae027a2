"""A small book, and a model that hums it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.book.contents import HEADING, PARAGRAPH, Block, Book, Chapter
from pocket_tts_jax.errors import TextError
from pocket_tts_jax.text.words import word_spans

RATE = 24000
WORD = 0.2  # seconds
BOOK = Book(
    'A "Tale" & more <b>',
    "Ann Author",
    "en",
    (
        Chapter("One", (Block(HEADING, "One"), Block(PARAGRAPH, "“Call me,” he said — twice."))),
        Chapter(
            "Two: the <end>?",
            (
                Block(HEADING, "Two: the <end>?"),
                Block(PARAGRAPH, "中文"),
                Block(PARAGRAPH, "A & B."),
            ),
        ),
    ),
)


class HummingModel:
    """Every word takes 0.2 s; what is not ASCII has no sound."""

    sample_rate, frame_size = RATE, 1920
    source = SimpleNamespace(name="hum")

    def __init__(self, fail_at: int | None = None):
        self.texts: list[str] = []
        self.fail_at = fail_at

    def default_voice(self):
        return "hum"

    def get_state_for_audio_prompt(self, voice, truncate=False):
        return voice

    def load_model(self, *arguments, **options):
        return self

    def generate_audio_with_times(self, voice, said, *, seed, text):
        if self.fail_at == len(self.texts):
            raise KeyboardInterrupt
        self.texts.append(said)
        if not any(c.isalnum() and c.isascii() for c in said):
            raise TextError("no sound for any character")
        spans = word_spans(said)
        words = [
            SpokenWord(said[a:b], WORD * i, WORD * (i + 1), 0, a, b)
            for i, (a, b) in enumerate(spans)
        ]
        time = np.arange(round(WORD * RATE * len(spans))) / RATE
        return (0.3 * np.sin(2 * np.pi * 220 * time)).astype(np.float32), words


def write_text(path: Path) -> Path:
    path.write_text("Chapter 1\n\nHello there, reader.\n\nMore.\n\nChapter 2\n\nThe end.")
    return path
