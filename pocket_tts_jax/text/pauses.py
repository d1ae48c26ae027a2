"""Silences of a given length, written into the text.

    First part. [pause:0.5] Second part. <break time="500ms"/> Third part.

Both marks take seconds (`0.5`, `0.5s`) or milliseconds (`500ms`); `<break>` needs the unit, as in
SSML 1.1. No other SSML element is supported. The parts are spoken separately, so a pause also ends
a sentence.
"""

import logging
import re
from dataclasses import dataclass

from pocket_tts_jax.errors import TextError

LONGEST = 10.0  # seconds

_log = logging.getLogger(__name__)

_ATTRIBUTE = r"""\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*')"""
_MARK = re.compile(
    rf"""
    \[pause\b (?:(?P<seconds>[^\[\]]*)\])?
    | <break(?P<attributes>(?:{_ATTRIBUTE})*)\s*/?> (?:\s*</break\s*>)?
    | (?P<other></?(?P<name>[A-Za-z][\w:.-]*)(?:{_ATTRIBUTE})*\s*/?>|<break\b[^<>]*>?)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LEADING_MARKS = re.compile(r"[.,;:!?…]+")
_DURATION = re.compile(r"\s*\+?(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)?\s*", re.IGNORECASE)
_TIME = re.compile(r"""\s+time\s*=\s*["']([^"']*)["']""", re.IGNORECASE)


@dataclass(frozen=True)
class Pause:
    """Silence of 0 to 10 seconds."""

    seconds: float

    def samples(self, sample_rate: int) -> int:
        return round(self.seconds * sample_rate)


def has_pauses(text: str) -> bool:
    """Whether there are pause marks in `text`; other elements in angle brackets are none."""
    return any(mark["other"] is None for mark in _MARK.finditer(text))


def split_pauses(text: str) -> list[str | Pause]:
    """Split `text` at its pause marks into spoken parts and pauses, in order.

    A text without marks is returned as it is. Punctuation right after a mark is moved to the part
    before it; so is a part without any letter or digit. Pauses of more than 10 seconds are cut to
    10, with a warning in the log. Raises TextError for a mark that cannot be read and for any other
    SSML element.
    """
    segments: list[str | Pause] = []
    start = 0
    for mark in _MARK.finditer(text):
        _add_text(segments, text[start : mark.start()])
        segments.append(Pause(_seconds(mark)))
        start = mark.end()
    if not segments:
        return [text]
    _add_text(segments, text[start:])
    return segments


def blank_marks(text: str) -> str:
    """`text` with spaces in place of its pause marks, of the same length."""
    return _MARK.sub(lambda mark: " " * len(mark[0]), text)


def _add_text(segments: list[str | Pause], text: str) -> None:
    marks = _LEADING_MARKS.match(text)
    behind = marks[0] if marks else ""
    if not any(map(str.isalnum, text)):
        behind, text = text.strip(), ""
    for index in reversed(range(len(segments))):
        before = segments[index]
        if isinstance(before, str):
            segments[index] = before + behind
            break
    text = text.removeprefix(behind).strip()
    if text:
        segments.append(text)


def _seconds(mark: re.Match[str]) -> float:
    if mark["other"]:
        name = mark["name"] or "break"
        raise TextError(
            f"{mark[0]!r} is SSML that is not supported (<{name}>). Remove it; only "
            '<break time="500ms"/> and [pause:0.5] are understood.'
        )
    if mark["seconds"] is not None:
        value = mark["seconds"].removeprefix(":")
        duration = _DURATION.fullmatch(value) if mark["seconds"][:1] == ":" else None
    else:
        time = _TIME.fullmatch(mark["attributes"] or "")  # no attributes: `[pause` without `]`
        duration = _DURATION.fullmatch(time[1]) if time else None
        duration = duration if duration and duration[2] else None
    if duration is None:
        raise TextError(f'{mark[0]!r} is not a pause. Write [pause:0.5] or <break time="500ms"/>.')
    seconds = float(duration[1]) / (1000 if (duration[2] or "").lower() == "ms" else 1)
    if seconds > LONGEST:
        _log.warning("%r is cut to the longest pause, %g seconds.", mark[0], LONGEST)
    return min(seconds, LONGEST)
