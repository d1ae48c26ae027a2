"""Text that arrives in pieces, such as a language model's answer, cut into chunks as it comes.

The chunks are those of the whole text: where the pieces begin and end changes nothing. What has
arrived is cut by the same function as a whole text, at the end of every clause. When the clauses
before it keep their chunks, no text that follows can change them, and they leave. Nothing here
keeps time: a caller that has waited long enough for more text calls `flush`.
"""

import re
from collections.abc import Iterable, Iterator

from pocket_tts_jax.errors import TextError
from pocket_tts_jax.text.pipeline import Cutter, Item, nothing_to_speak
from pocket_tts_jax.text.prepare import Prompt

# The space between a mark and a whole word. That word can change how the mark is read: "No. 5".
_SEAM = re.compile(r"(?<=[.!?…,;:–—\-\"'”’)\]»>])\s+(?=(?P<word>[^\W_]\S*)\s)")


class TextStream:
    """Cuts pieces of text, fed one after the other, into the items that `cutter` makes of the
    whole. Not for use by several threads at once."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter, self._early = cutter, cutter.options.early_start
        self._restart()

    def feed(self, piece: str) -> Iterator[Item]:
        """Take in the next piece, of any length; yields the items that it completes, each as soon
        as it is found. Take all of them before the next call."""
        self._text += piece
        while seam := _SEAM.search(self._text, self._scanned):
            yield from self._at_seam(seam.start(), seam.end(), seam.end("word"))
        # Only the last word can still complete a seam: the one before it.
        words = self._text.rstrip()
        if words and words == self._text:
            words = words[: -len(words.rsplit(maxsplit=1)[-1])].rstrip()
        self._scanned = max(self._scanned, len(words))

    def flush(self) -> list[Item]:
        """Treat what has been fed as the whole text: returns its last items, then starts anew.

        Raises TextError where there was text and the model has no sound for any of it.
        """
        text, beginning = self._text, self._beginning
        self._restart()
        return list(self._cutter.items(text, beginning=beginning)) if text.strip() else []

    def _restart(self) -> None:
        self._text, self._scanned = "", 0
        self._beginning = True
        self._held: list[Item] = []  # the items of the text before `_seam`, the last one
        self._seam = 0

    def _at_seam(self, start: int, end: int, word_end: int) -> list[Item]:
        """What leaves at the space from `start` to `end`, before the word to `word_end`."""
        ready: list[Item] = []
        self._scanned = end
        items = self._try(start)
        if _goes_on(self._held, items):
            ready += items[: len(self._held)]
            gone = self._drop(self._seam)
            start, word_end = start - gone, word_end - gone
            items = self._try(start)
        if items:
            self._held, self._seam = items, start
        if self._early and self._beginning and _goes_on(items, more := self._try(word_end)):
            ready += more[: len(items)]
            self._drop(start)
        return ready

    def _try(self, end: int) -> list[Item]:
        """The items of the text so far; none where it cannot be cut yet."""
        try:
            text = self._text[:end]
            return list(self._cutter.items(text, beginning=self._beginning, warn=False))
        except TextError:  # a pause mark that is not complete, or nothing to speak
            return []

    def _drop(self, end: int) -> int:
        """Forget the text before `end`; returns how many characters it had."""
        self._text = self._text[end:]
        self._scanned -= end
        self._beginning = False
        self._held, self._seam = [], 0
        return end


def iter_pieces(pieces: Iterable[str], cutter: Cutter) -> Iterator[Item]:
    """The items of all `pieces` together, each as soon as it is complete.

    Raises TextError at the end where there was nothing to speak.
    """
    stream, spoken = TextStream(cutter), False
    for piece in pieces:
        for item in stream.feed(piece):
            spoken = True
            yield item
    for item in stream.flush():
        spoken = True
        yield item
    if not spoken:
        raise nothing_to_speak()


def _goes_on(before: list[Item], after: list[Item]) -> bool:
    """Whether `after` is `before`, unchanged, and more."""
    same = all(map(_alike, before, after))
    return bool(before) and len(after) > len(before) and same


def _alike(one: Item, other: Item) -> bool:
    if isinstance(one, Prompt) and isinstance(other, Prompt):
        return one.ids == other.ids
    return one == other
