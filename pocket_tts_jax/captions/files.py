"""Subtitle files: SubRip, WebVTT (also word by word, as for karaoke) and JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.captions.cues import Cue, cues, written_words
from pocket_tts_jax.errors import ConfigError


def srt(found: Sequence[Cue]) -> str:
    """SubRip, as most players and editors read it."""
    blocks = (
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n"
        for number, cue in enumerate(found, 1)
    )
    return "\n".join(blocks)


def vtt(found: Sequence[Cue], *, karaoke: bool = False) -> str:
    """WebVTT, as browsers read it. With `karaoke` each word has its time, for `::cue(:past)`."""
    blocks = ["WEBVTT\n"]
    for cue in found:
        text = "\n".join(_karaoke(cue)) if karaoke else _escaped(cue.text)
        blocks.append(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def words_json(words: Sequence[SpokenWord]) -> str:
    """The words with their times (seconds) and places in the text."""
    rows = [
        asdict(word) | {"start": round(word.start, 3), "end": round(word.end, 3)} for word in words
    ]
    return json.dumps({"words": rows}, ensure_ascii=False, indent=1) + "\n"


def cues_json(found: Sequence[Cue]) -> str:
    """The cues with their times (seconds), text, and words."""
    rows = [
        {
            "start": round(cue.start, 3),
            "end": round(cue.end, 3),
            "text": cue.text,
            "words": [
                {"text": w.text, "start": round(w.word.start, 3), "end": round(w.word.end, 3)}
                for line in cue.lines
                for w in line
            ],
        }
        for cue in found
    ]
    return json.dumps({"cues": rows}, ensure_ascii=False, indent=1) + "\n"


FORMATS: dict[str, Callable[[Sequence[Cue]], str]] = {".srt": srt, ".vtt": vtt, ".json": cues_json}


def check_format(path: Path, *, karaoke: bool = False) -> None:
    """Raise ConfigError for an unknown ending, and for karaoke in another format than WebVTT."""
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise ConfigError(f"{path}: subtitles are files that end in {', '.join(FORMATS)}.")
    if karaoke and kind != ".vtt":
        raise ConfigError(f"{path}: only .vtt subtitles light up word by word.")


def subtitles(
    path: Path,
    text: str,
    words: Sequence[SpokenWord],
    *,
    pauses: bool = False,
    karaoke: bool = False,
) -> str:
    """The content of a subtitle file at `path`, by its ending.

    `pauses`: whether the marks in `text` were read as pauses. `karaoke` is for `.vtt` only.
    """
    check_format(path, karaoke=karaoke)
    found = cues(written_words(text, words, pauses=pauses))
    if path.suffix.lower() == ".vtt":
        return vtt(found, karaoke=karaoke)
    return FORMATS[path.suffix.lower()](found)


def _karaoke(cue: Cue) -> Iterator[str]:
    first = True
    for line in cue.lines:
        parts = []
        for written in line:
            stamp = "" if first else f"<{_clock(written.word.start, '.')}>"
            parts.append(f"{stamp}<c>{_escaped(written.text)}</c>")
            first = False
        yield " ".join(parts)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    total = max(0, round(seconds * 1000))
    minutes, milliseconds = divmod(total, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
