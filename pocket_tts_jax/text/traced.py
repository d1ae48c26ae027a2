"""A text that keeps for each of its characters the span of the user's text behind it.

A text is rewritten many times on its way to the model: numbers become words, quotes become plain,
white space collapses. `Traced` is a `str`, so the code that rewrites text works on both, and a
plain `str` costs nothing extra. `sub` of this module keeps the trace when a regular expression
rewrites text; the methods below do so for methods of strings. Any other method of `str` returns a
plain string without a trace.
"""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any, cast

Speak = str | Callable[[re.Match[str]], str]
Span = tuple[int, int]

_WORD = re.compile(r"\S+")


class Traced(str):
    """A string with a span of the user's text for each of its characters.

    Character i stands for the user's characters `starts[i]` to `ends[i]` (exclusive). The span of
    an added character is empty and lies where it was added. Spans are in order: neither starts nor
    ends ever decrease.
    """

    starts: array
    ends: array

    def __new__(cls, text: str, starts: array | None = None, ends: array | None = None) -> "Traced":
        """By default the user's text itself, where each character stands for itself."""
        self = super().__new__(cls, text)
        self.starts = array("q", range(len(text))) if starts is None else starts
        self.ends = array("q", range(1, len(text) + 1)) if ends is None else ends
        return self

    def span(self, start: int, end: int) -> Span:
        """The span of the user's text behind the characters from `start` to `end`."""
        if start >= end or start >= len(self):
            place = self._place(start)
            return place, place
        return self.starts[start], self.ends[end - 1]

    def _place(self, index: int) -> int:
        """The position in the user's text of an addition before character `index`."""
        if index > 0:
            return self.ends[index - 1]
        return self.starts[0] if self.starts else 0

    def __getitem__(self, key: Any) -> "Traced":
        if not isinstance(key, slice):
            key = slice(key, None if key == -1 else key + 1)
        return Traced(super().__getitem__(key), self.starts[key], self.ends[key])

    def __add__(self, other: str) -> "Traced":
        return joined([self, other])

    def __radd__(self, other: str) -> "Traced":
        return joined([other, self])

    def strip(self, chars: str | None = None) -> "Traced":
        return self.lstrip(chars).rstrip(chars)

    def lstrip(self, chars: str | None = None) -> "Traced":
        return self[len(self) - len(super().lstrip(chars)) :]

    def rstrip(self, chars: str | None = None) -> "Traced":
        return self[: len(super().rstrip(chars))]

    def removeprefix(self, prefix: str) -> "Traced":
        return self[len(prefix) :] if self.startswith(prefix) else self

    def replace(self, old: str, new: str, count: Any = -1) -> "Traced":
        pattern = re.compile(re.escape(old))
        return cast(Traced, sub(pattern, lambda match: new, self, max(count, 0)))

    def translate(self, table: Mapping[int, Any]) -> "Traced":  # pyright: ignore
        changed = map_characters(self, lambda character: character.translate(table))
        return cast(Traced, changed)

    def upper(self) -> "Traced":
        return cast(Traced, map_characters(self, str.upper))


def joined(parts: list[str]) -> Traced:
    """Concatenate parts. The characters of a plain string count as added."""
    starts, ends = array("q"), array("q")
    for i, part in enumerate(parts):
        if isinstance(part, Traced):
            starts.extend(part.starts)
            ends.extend(part.ends)
            continue
        following = (p.starts[0] for p in parts[i + 1 :] if isinstance(p, Traced) and p)
        place = ends[-1] if ends else next(following, 0)
        starts.extend([place] * len(part))
        ends.extend([place] * len(part))
    return Traced("".join(map(str, parts)), starts, ends)


def map_characters(text: str, change: Callable[[str], str]) -> str:
    """`text` with each character replaced by the result of `change`, of any length."""
    changed = [change(character) for character in str(text)]
    if not isinstance(text, Traced):
        return "".join(changed)
    starts, ends = array("q"), array("q")
    for i, characters in enumerate(changed):
        starts.extend([text.starts[i]] * len(characters))
        ends.extend([text.ends[i]] * len(characters))
    return Traced("".join(changed), starts, ends)


def sub(pattern: re.Pattern[str], speak: Speak, text: str, count: int = 0) -> str:
    """`pattern.sub(speak, text)`, which keeps the trace of a `Traced` text."""
    if not isinstance(text, Traced):
        return pattern.sub(speak, text, count)
    found = []
    for number, match in enumerate(pattern.finditer(str(text)), 1):
        new = match.expand(speak) if isinstance(speak, str) else speak(match)
        found.append((*match.span(), new))
        if number == count:
            break
    return replace_spans(text, found)


def replace_spans(text: str, found: Iterable[tuple[int, int, str]]) -> str:
    """`text` with each of `found` (start, end, replacement), which are in order and apart.

    A replacement stands for what it replaces. Of several words, each stands for its share (see
    `shares`).
    """
    plain, done = str(text), 0
    pieces, starts, ends = [], array("q"), array("q")
    for start, end, new in found:
        pieces += [plain[done:start], new]
        if isinstance(text, Traced):
            starts.extend(text.starts[done:start])
            ends.extend(text.ends[done:start])
            for first, last, length in shares(plain[start:end], new):
                span = text.span(start + first, start + last)
                starts.extend([span[0]] * length)
                ends.extend([span[1]] * length)
        done = end
    if not pieces:
        return text
    pieces.append(plain[done:])
    if not isinstance(text, Traced):
        return "".join(pieces)
    starts.extend(text.starts[done:])
    ends.extend(text.ends[done:])
    return Traced("".join(pieces), starts, ends)


def shares(old: str, new: str) -> Iterator[tuple[int, int, int]]:
    """The part of `old` behind each part of `new`: (start, end, length of the part of `new`).

    The parts of `new` are contiguous. Words that both have stand for each other; those between are
    assigned in order, by their spoken length.
    """
    words, said = (list(_WORD.finditer(text)) for text in (old, new))
    if len(words) < 2 or not said:
        if new:
            yield 0, len(old), len(new)
        return
    done = 0
    for first, last, begin, end in _groups([m[0] for m in words], [m[0] for m in said]):
        stop = len(new) if end == len(said) else said[end].start()
        yield words[first].start(), words[last - 1].end(), stop - done
        done = stop
        assert begin < end


def _groups(words: list[str], said: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Neighbouring words [first, last) that become the words [begin, end), none of them empty."""
    old, new = ([w.strip(".,;:!?()").lower() for w in ws] for ws in (words, said))
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    edges = [(0, 0)]
    for i, j, size in blocks:
        edges += [(i + n, j + n) for n in range(size + 1)]
    edges = sorted({*edges, (len(old), len(new))})
    # A stretch that is empty on one side goes to the neighbour before it, or else to the one after.
    kept = [edges[0]]
    for i, j in edges[1:]:
        if kept[-1] != (0, 0) and (i == kept[-1][0] or j == kept[-1][1]):
            kept[-1] = (i, j)
        elif i > kept[-1][0] and j > kept[-1][1]:
            kept.append((i, j))
    kept[-1] = edges[-1]
    for (first, begin), (last, end) in pairwise(kept):
        for a, b, c, d in _shared_out(words[first:last], said[begin:end]):
            yield first + a, first + b, begin + c, begin + d


def _shared_out(words: list[str], said: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """The shorter list one by one, each with one or more of the other's, near the same place."""
    if len(words) <= len(said):
        cuts = _cuts([_length(word) for word in words], [_length(word) for word in said])
        for i, (begin, end) in enumerate(pairwise(cuts)):
            yield i, i + 1, begin, end
    else:
        cuts = _cuts([_length(word) for word in said], [_length(word) for word in words])
        for j, (first, last) in enumerate(pairwise(cuts)):
            yield first, last, j, j + 1


def _cuts(few: list[float], many: list[float]) -> list[int]:
    """Cut `many` into len(few) parts, none empty, whose ends are near those of `few`."""
    scale, wanted, passed = sum(many) / sum(few), 0.0, 0.0
    cuts = [0]
    for i, length in enumerate(few[:-1]):
        wanted += length * scale
        cut = cuts[-1] + 1
        passed = sum(many[:cut])
        last = len(many) - (len(few) - 1 - i)
        while cut < last and abs(passed + many[cut] - wanted) < abs(passed - wanted):
            passed += many[cut]
            cut += 1
        cuts.append(cut)
    return [*cuts, len(many)]


def _length(word: str) -> float:
    """The approximate spoken length of a word: a digit counts as four letters."""
    return 1 + sum(4 if character.isdigit() else 1 for character in word)
