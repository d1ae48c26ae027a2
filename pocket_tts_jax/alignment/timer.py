"""Times the words of a text during generation.

The time of a word is known when the next word is decided (`path.LAG` frames after its start), after
as much silence, or at the end of its chunk: at most 0.5 s of audio after its end. Times count every
sample: a chunk starts where the audio before it ended, including pauses.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pocket_tts_jax.alignment.path import Path
from pocket_tts_jax.alignment.quiet import Loudness
from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.words import Word


class WordTimer:
    """Follows a stream of chunks and pauses, and calls `on_word` with each word and its time.

    Call `begin` at the start of a chunk, `hear` for each of its frames, `end` at its end, and
    `pause` between chunks. Words are reported in the order of the text, as soon as they are known.
    A chunk is given at `pace` times the pace at which it was heard.
    """

    def __init__(
        self, sample_rate: int, on_word: Callable[[SpokenWord], None], pace: float = 1.0
    ) -> None:
        self._rate, self._on_word, self._pace = sample_rate, on_word, pace
        self._samples = 0
        self._chunk: _Chunk | None = None
        self._cut: SpokenWord | None = None  # a word that continues in the next chunk

    def begin(self, chunk: int, words: Sequence[Word], tokens: int) -> None:
        """The next chunk: its number, its words and how many tokens it has."""
        self._chunk = _Chunk(chunk, words, tokens, self._rate)

    def hear(
        self, audio: Float[np.ndarray, " samples"], attention: Float[np.ndarray, "heads tokens"]
    ) -> None:
        """One frame of the chunk's audio, and its attention."""
        assert self._chunk is not None
        self._chunk.hear(audio, attention)
        self._tell()

    def end(self) -> None:
        """The chunk is over."""
        assert self._chunk is not None
        self._chunk.finish()
        self._tell()
        self._samples += round(self._chunk.samples / self._pace)

    def pause(self, samples: int) -> None:
        """Silence that belongs to no chunk."""
        self._samples += samples

    def _tell(self) -> None:
        assert self._chunk is not None
        for word, start, end in self._chunk.known():
            start, end = ((self._samples + edge / self._pace) / self._rate for edge in (start, end))
            spoken = SpokenWord(
                word.text, start, end, self._chunk.index, word.first_character, word.last_character
            )
            if self._cut is not None and self._cut.first_character == word.first_character:
                spoken = replace(spoken, start=self._cut.start, chunk=self._cut.chunk)
            self._cut = spoken if word.goes_on else None
            if not word.goes_on:
                self._on_word(spoken)


class _Chunk:
    """The words of one chunk, in samples from its start."""

    def __init__(self, index: int, words: Sequence[Word], tokens: int, rate: int) -> None:
        self.index, self.samples = index, 0
        self._groups = _groups(words)
        units = [(group[0].first_token, group[0].last_token) for group in self._groups]
        self._path = Path(units, tokens)
        self._frames = [0]  # where each frame starts, and the next one
        self._decided = 0  # frames
        self._first: dict[int, int] = {}  # the first frame of each group that has frames
        self._loudness = Loudness(rate)
        self._told, self._edge = 0, 0  # groups that were reported, and the end of the last one
        self._over = False

    def hear(
        self, audio: Float[np.ndarray, " samples"], attention: Float[np.ndarray, "heads tokens"]
    ) -> None:
        self._loudness.push(audio)
        self.samples += len(audio)
        self._frames.append(self.samples)
        self._take(self._path.push(attention))

    def finish(self) -> None:
        self._take(self._path.finish())
        self._over = True

    def _take(self, places: Sequence[int]) -> None:
        for place in places:
            if place % 2:
                self._first.setdefault(place // 2, self._decided)
            self._decided += 1

    def known(self) -> Iterator[tuple[Word, int, int]]:
        """(word, start, end) of the words that have become known, in order."""
        while self._told < len(self._groups):
            # Groups without a frame of their own share those of the next one.
            last = next((g for g in range(self._told, len(self._groups)) if g in self._first), None)
            if last is None and not self._over:
                return
            last = len(self._groups) - 1 if last is None else last
            span = self._span(last)
            if span is None:
                return
            part = self._groups[self._told : last + 1]
            yield from _shared([word for group in part for word in group], *span)
            self._edge, self._told = span[1], last + 1

    def _span(self, group: int) -> tuple[int, int] | None:
        """The start and end of a group; None while they are not known.

        It lasts until the next group begins, without silence before and after it.
        """
        following = min((f for g, f in self._first.items() if g > group), default=None)
        decided = self._frames[self._decided if following is None else following]
        passed = self._over or following is not None
        start = max(self._frames[self._first.get(group, self._decided)], self._edge)
        stop = max(start, decided if passed else self.samples)
        before, behind = self._loudness.silence(start, stop)
        end = stop - behind
        # Silence since a decided frame: the word has ended.
        return (start + before, end) if passed or start < end <= decided else None


def _groups(words: Sequence[Word]) -> list[list[Word]]:
    """Words that are spoken as one."""
    groups: list[list[Word]] = []
    for word in words:
        if groups and groups[-1][0].first_token == word.first_token:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def _shared(words: Sequence[Word], start: int, end: int) -> Iterator[tuple[Word, int, int]]:
    """Divide a time among words by their length."""
    total, passed, begin = sum(len(word.text) for word in words), 0, start
    for word in words:
        passed += len(word.text)
        stop = start + (end - start) * passed // total
        yield word, begin, stop
        begin = stop
