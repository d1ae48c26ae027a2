"""Groups words into readable cues of one or two short lines, broken at pauses of the text.

The limits are common to broadcasters' subtitle guides: 42 characters per line, two lines, 1 to 7
seconds, and at most 17 characters per second if the silence after a cue allows it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.text.pauses import blank_marks

LINE = 42
LONGEST, SHORTEST = 7.0, 1.0
READING_SPEED = 17.0  # characters per second
_GAP = 0.08  # kept free between cues, so that the eye sees the change
_PAUSE, _LONG_PAUSE = 0.3, 0.8
_SENTENCE = re.compile(r"[.!?…][\"'”’)\]»]*$")
_MARKS_BEFORE = re.compile(r"(?:\s|\A)(\S+)\Z")
_MARKS_BEHIND = re.compile(r"\S*")
_CLAUSE = re.compile(r"[,;:–—-][\"'”’)\]»]*$")
# Costs of a break after a word, lower at better places, and of a cue, higher the farther it is from
# a comfortable length.
_AT_CLAUSE, _AT_PAUSE, _ANYWHERE = 4.0, 2.0, 12.0
_PER_CUE, _TOO_SHORT, _SENTENCE_INSIDE = 3.0, 8.0, 5.0


@dataclass(frozen=True)
class Written:
    """A spoken word as written in the text, with the marks around it."""

    text: str
    word: SpokenWord


@dataclass(frozen=True)
class Cue:
    """One or two lines, shown from `start` to `end` (seconds)."""

    start: float
    end: float
    lines: tuple[tuple[Written, ...], ...]

    @property
    def text(self) -> str:
        return "\n".join(" ".join(w.text for w in line) for line in self.lines)


def written_words(text: str, words: Sequence[SpokenWord], *, pauses: bool = False) -> list[Written]:
    """The words as written in the text, each with the marks that touch it.

    Characters between two words that touch neither (a dash, a word that the model has no sound for)
    belong to the first of them. `pauses`: whether pause marks in the text are left out.
    """
    if not words:
        return []
    text = blank_marks(text) if pauses else text
    bounds = [_start(text, 0, words[0])]
    bounds += [_start(text, a.last_character, b) for a, b in pairwise(words)]
    end = _MARKS_BEHIND.match(text, words[-1].last_character)
    bounds.append(end.end() if end else len(text))
    parts = [" ".join(text[begin:end].split()) for begin, end in pairwise(bounds)]
    return [Written(part, word) for part, word in zip(parts, words, strict=True)]


def _start(text: str, begin: int, word: SpokenWord) -> int:
    """The start of a word's text including the marks before it, at `begin` or later."""
    marks = _MARKS_BEFORE.search(text, begin, word.first_character)
    return marks.start(1) if marks else word.first_character


def cues(words: Sequence[Written]) -> list[Cue]:
    """All words in cues, in order; no two cues overlap."""
    best, came = [0.0], [0]
    for end in range(1, len(words) + 1):
        costs = []
        for start in reversed(range(end)):
            part = words[start:end]
            if start < end - 1 and not _fits(part):
                break
            costs.append((best[start] + _cost(part, end == len(words), words, end), start))
        cost, start = min(costs)
        best.append(cost)
        came.append(start)
    bounds = [len(words)]
    while bounds[-1]:
        bounds.append(came[bounds[-1]])
    bounds.reverse()
    parts = [words[a:b] for a, b in pairwise(bounds)]
    return _timed([Cue(p[0].word.start, p[-1].word.end, lines(p)) for p in parts])


def _fits(part: Sequence[Written]) -> bool:
    if part[-1].word.end - part[0].word.start > LONGEST:
        return False
    if any(b.word.start - a.word.end > _LONG_PAUSE for a, b in pairwise(part)):
        return False
    return all(_width(line) <= LINE for line in lines(part)) and len(lines(part)) <= 2


def _cost(part: Sequence[Written], last: bool, words: Sequence[Written], end: int) -> float:
    cost = _PER_CUE
    cost += sum(_SENTENCE_INSIDE for w in part[:-1] if _SENTENCE.search(w.text))
    seconds = part[-1].word.end - part[0].word.start
    if seconds < SHORTEST or _width(part) < LINE / 3:
        cost += _TOO_SHORT
    if last or _SENTENCE.search(part[-1].text):
        return cost
    if words[end].word.start - part[-1].word.end > _PAUSE:
        return cost + _AT_PAUSE
    return cost + (_AT_CLAUSE if _CLAUSE.search(part[-1].text) else _ANYWHERE)


def lines(part: Sequence[Written]) -> tuple[tuple[Written, ...], ...]:
    """One line if it fits, otherwise two of about the same length, broken at a mark if possible."""
    if _width(part) <= LINE or len(part) == 1:
        return (tuple(part),)

    def unevenness(i: int) -> float:
        first, second = _width(part[:i]), _width(part[i:])
        mark = _CLAUSE.search(part[i - 1].text) or _SENTENCE.search(part[i - 1].text)
        too_long = max(first - LINE, 0) + max(second - LINE, 0)
        return abs(first - second) - (LINE / 3 if mark else 0) + 100 * too_long

    cut = min(range(1, len(part)), key=unevenness)
    return tuple(part[:cut]), tuple(part[cut:])


def _width(part: Sequence[Written]) -> int:
    return sum(len(w.text) + 1 for w in part) - 1


def _timed(found: list[Cue]) -> list[Cue]:
    """Extend cues until they can be read, as far as the next one allows."""
    timed = []
    for i, cue in enumerate(found):
        wanted = max(cue.end, cue.start + max(SHORTEST, len(cue.text) / READING_SPEED))
        room = found[i + 1].start - _GAP if i + 1 < len(found) else wanted
        timed.append(replace(cue, end=max(cue.end, min(wanted, room))))
    return timed
