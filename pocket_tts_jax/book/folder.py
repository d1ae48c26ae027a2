"""Writes a book as a folder: for each chapter an MP3 file, text, karaoke subtitles, word times."""

import re
from collections.abc import Sequence
from pathlib import Path

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.audio.write import open_writer
from pocket_tts_jax.book.contents import Book, Chapter
from pocket_tts_jax.book.recording import Recording
from pocket_tts_jax.captions.files import subtitles, words_json
from pocket_tts_jax.files.atomic import atomic_file


def write_folder(path: Path, book: Book, recordings: Sequence[Recording]) -> None:
    """Write the folder. Files of the same names are replaced."""
    path.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(book.chapters)))
    for number, (chapter, recording) in enumerate(zip(book.chapters, recordings, strict=True), 1):
        name = f"{number:0{digits}} {_file_name(chapter.title)}"
        with open_writer(path / f"{name}.mp3", recording.sample_rate) as writer:
            for samples in recording.audio():
                writer.write(samples)
        text, words = chapter_words(chapter, recording)
        captions = path / f"{name}.vtt"
        _write(captions, subtitles(captions, text, words, karaoke=True))
        _write(path / f"{name}.json", words_json(words))
        _write(path / f"{name}.txt", text + "\n")


def chapter_words(chapter: Chapter, recording: Recording) -> tuple[str, list[SpokenWord]]:
    """A chapter's text, its blocks separated by empty lines, and the words in it."""
    starts, texts = [], [block.text for block in chapter.blocks]
    for i in range(len(texts)):
        starts.append(sum(len(text) + 2 for text in texts[:i]))
    words = [word.later(0.0, starts[block]) for block, word in recording.words()]
    return "\n\n".join(texts), words


def _file_name(title: str) -> str:
    """A title without characters that file systems forbid."""
    plain = re.sub(r"[^\w .,'-]+", " ", title)
    return " ".join(plain.split())[:60].rstrip(" .") or "chapter"


def _write(path: Path, content: str) -> None:
    with atomic_file(path) as file:
        file.write(content.encode())
