"""Assigns the tokens of a chunk to the words of the user's text.

Words are separated by white space, dashes and ellipses, and have no quotes, brackets or marks
around them: in `"It's 12," (he said)` they are It's, 12, he and said. A word is one word however it
is spoken: the tokens of "twelve" belong to "12".
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pocket_tts_jax.text.tokenizer import Tokenizer
from pocket_tts_jax.text.traced import Span, Traced, joined, sub

_PIECE = re.compile(r"(?:(?!--)[^\s—…])+")
_MARKS = "\"'“”„‟‘’‚‛«»‹›()[]{}<>.,;:!?¡¿-–—*_~`|•·…"
_SPACE = re.compile(r"\s+")
# To realign two texts: how many characters must agree, and how far to look for them.
_IN_STEP, _FAR = 6, 200


@dataclass(frozen=True)
class Word:
    """A word of the user's text, and the tokens `first_token` to `last_token` that say it.

    The last character and the last token are exclusive: `text` is the user's text from
    `first_character` to `last_character`. Neighbours that are spoken as one have the same tokens.
    `goes_on` says that the next chunk has the rest of the word.
    """

    text: str
    first_character: int
    last_character: int
    first_token: int
    last_token: int
    goes_on: bool = False


def word_spans(text: str) -> list[Span]:
    """(start, end) of each word of `text`, in order."""
    spans = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        start = match.start() + len(piece) - len(piece.lstrip(_MARKS))
        end = match.start() + len(piece.rstrip(_MARKS))
        if start < end:
            spans.append((start, end))
    return spans


class WordFinder:
    """Finds the words of one stretch of the user's text (`written`, an unchanged part of it) in its
    chunks.

    `prepared` is that stretch as it was tokenized, with its trace. Not for use by several threads.
    """

    def __init__(self, written: Traced, prepared: Traced, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._spans = [written.span(*span) for span in word_spans(written)]
        self._ends = [end for _, end in self._spans]
        self._texts = [str(written)[start:end] for start, end in word_spans(written)]
        self._rest = _without_spaces(_decoded(prepared, tokenizer))
        self._done = 0  # characters of `_rest` that chunks have been made of

    def trace(self, chunk: str) -> Traced:
        """The next chunk, with the trace of its characters."""
        spans = iter(self._matched(_SPACE.sub("", chunk)))
        return joined([c if c.isspace() else _standing_for(c, *next(spans)) for c in chunk])

    def _matched(self, letters: str) -> Iterator[Span]:
        """The span behind each of the next letters.

        A tokenizer may decode a letter differently the second time (⁇ as ??), so the two texts are
        realigned where they differ.
        """
        plain, i = str(self._rest), 0
        while i < len(letters):
            same = plain[self._done : self._done + 1] == letters[i]
            skipped, passed = (1, 1) if same else _to_step(letters, i, plain, self._done)
            span = self._rest.span(self._done, self._done + 1)
            # Before the yield: nobody comes back after the last letter.
            i, self._done = i + skipped, min(self._done + passed, len(plain))
            yield from [span] * skipped

    def words(self, text: Traced) -> tuple[Word, ...]:
        """The words of the chunk that was traced last, after its preparation."""
        found: list[Word] = []
        for token, (start, end) in enumerate(spans_of(str(text), self._tokenizer)):
            span = text.span(start, end)
            for index in self._overlapping(*span):
                self._add(found, index, token)
        if found and self._goes_on(found[-1]):
            found[-1] = replace(found[-1], goes_on=True)
        return tuple(found)

    def _overlapping(self, start: int, end: int) -> range:
        first = bisect_right(self._ends, start)
        last = first
        while last < len(self._spans) and self._spans[last][0] < end:
            last += 1
        return range(first, last)

    def _add(self, found: list[Word], index: int, token: int) -> None:
        """Add a token to a word. A token of two words belongs to the first, unless the second has
        no other: then they share it."""
        start, end = self._spans[index]
        known = next((i for i in range(len(found)) if found[-1 - i].first_character == start), None)
        if known is None:
            shared = found and found[-1].last_token > token
            first = found[-1].first_token if shared else token
            found.append(Word(self._texts[index], start, end, first, token + 1))
            return
        word = found[-1 - known]
        if known > 0:  # also the second's: theirs are the same tokens
            for i in range(-1 - known, 0):
                found[i] = replace(found[i], first_token=word.first_token, last_token=token + 1)
        elif len(found) > 1 and found[-2].last_token > word.first_token:
            first = max(found[-2].last_token, word.first_token)
            found[-1] = replace(word, first_token=min(first, token), last_token=token + 1)
        else:
            found[-1] = replace(word, last_token=token + 1)

    def _goes_on(self, word: Word) -> bool:
        rest = self._rest[self._done : self._done + 64]
        return any(
            character.isalnum() and rest.starts[i] < word.last_character
            for i, character in enumerate(str(rest))
        )


def spans_of(text: str, tokenizer: Tokenizer) -> list[Span]:
    """The characters of `text` that each of its tokens stands for, without white space around them.

    Tokens that together stand for one thing (the bytes of a character, the phonemes of a word) all
    have its span.
    """
    spans = tokenizer.spans(text)
    for i in reversed(range(len(spans) - 1)):
        start, end = spans[i]
        if start == end and spans[i + 1][0] <= start < spans[i + 1][1]:
            spans[i] = spans[i + 1]
    return [_trimmed(text, start, end) for start, end in spans]


def _trimmed(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _decoded(text: Traced, tokenizer: Tokenizer) -> Traced:
    """The decoded tokens of `text`, with their trace."""
    spans = spans_of(str(text), tokenizer)
    parts: list[str] = []
    for (start, end), piece in zip(spans, tokenizer.pieces(str(text)), strict=True):
        source = text[start:end]
        if str(source) == piece.strip():
            parts.append(source)
        else:
            parts.append(_standing_for(piece.strip(), *text.span(start, end)))
    return joined(parts)


def _standing_for(text: str, start: int, end: int) -> Traced:
    """A text whose characters all stand for the same span."""
    whole = Traced(text)
    for i in range(len(text)):
        whole.starts[i], whole.ends[i] = start, end
    return whole


def _without_spaces(text: Traced) -> Traced:
    result = sub(_SPACE, "", text)
    assert isinstance(result, Traced)
    return result


def _to_step(letters: str, i: int, plain: str, done: int) -> tuple[int, int]:
    """The numbers of `letters` and of `plain` to skip until they agree."""
    for distance in range(1, 2 * _FAR):
        for skipped in range(max(0, distance - _FAR), min(distance, _FAR) + 1):
            ahead = letters[i + skipped : i + skipped + _IN_STEP]
            passed = distance - skipped
            if ahead and plain.startswith(ahead, done + passed):
                return skipped, passed
    return len(letters) - i, min(len(letters) - i, len(plain) - done)
