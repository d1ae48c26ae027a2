"""Writes subtitles and word times beside the speech of a command."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.captions.files import FORMATS, check_format, subtitles, words_json
from pocket_tts_jax.errors import AudioError, ConfigError
from pocket_tts_jax.files.atomic import atomic_file


@dataclass(frozen=True)
class Captions:
    """The files for subtitles and for the times of words; None if not wanted."""

    subtitles: Path | None = None
    words: Path | None = None
    karaoke: bool = False

    @property
    def wanted(self) -> bool:
        return self.subtitles is not None or self.words is not None

    def check(self) -> None:
        """Raise ConfigError for files that cannot be written, before anything is spoken."""
        if self.subtitles is not None:
            check_format(self.subtitles, karaoke=self.karaoke)
            check_place("subtitles", self.subtitles)
        elif self.karaoke:
            raise ConfigError("--karaoke is for subtitles: name them with --subtitles FILE.vtt.")
        if self.words is not None:
            if self.words.suffix.lower() in FORMATS.keys() - {".json"}:
                raise ConfigError(f"--words writes JSON: ask for {self.words} with --subtitles.")
            check_place("words", self.words)

    def write(self, text: str, words: Sequence[SpokenWord], pauses: bool) -> None:
        """Write the files. `pauses`: whether the marks in `text` were read as pauses."""
        if self.subtitles is not None:
            content = subtitles(self.subtitles, text, words, pauses=pauses, karaoke=self.karaoke)
            write_text("subtitles", self.subtitles, content)
        if self.words is not None:
            write_text("words", self.words, words_json(words))


def check_place(what: str, path: Path) -> None:
    """Raise ConfigError if `path` cannot be a file."""
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"The {what} {path} must be a file in a folder that exists.")


def write_text(what: str, path: Path, content: str) -> None:
    """Write a file atomically."""
    try:
        with atomic_file(path) as file:
            file.write(content.encode())
    except OSError as error:
        raise AudioError(f"The {what} {path} cannot be written: {error}") from error
