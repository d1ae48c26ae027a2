"""The times of words, as a text's chunks, frames and pauses go by.

A word is known once the word behind it has been decided on (`path.LAG` frames after it began), once
its audio has been quiet for a while, or at the end of its chunk: at most 0.5 s of audio after its
end. Times count every sample: a chunk starts where the audio before it ended, pauses included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pocket_tts_jax.alignment.path import Path
from pocket_tts_jax.alignment.quiet import Loudness
from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.words import Word

_SILENT = 0.24  # seconds of quiet behind a word that end it before the next one is heard
_TRIM = 0.03  # quiet of less than this at an edge belongs to the sound beside it


class WordTimer:
    """Hears a stream of chunks and pauses, and says when each word was spoken.

    Call `begin` at the start of a chunk, `hear` for each of its frames, `end` at its end, and
    `pause` between chunks. Each yields the words that have become known, in the order of the text.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._samples = 0
        self._chunk: _Chunk | None = None
        self._cut: SpokenWord | None = None  # a word of which the next chunk says the rest

    def begin(self, chunk: int, words: Sequence[Word], tokens: int) -> None:
        """The next chunk: its number, its words and how many tokens it has."""
        self._chunk = _Chunk(chunk, words, tokens, self._rate)

    def hear(
        self, audio: Float[np.ndarray, " samples"], attention: Float[np.ndarray, "heads tokens"]
    ) -> Iterator[SpokenWord]:
        """One frame of the chunk's audio and what the model looked at when it made it."""
        assert self._chunk is not None
        self._chunk.hear(audio, attention)
        yield from self._known()

    def end(self) -> Iterator[SpokenWord]:
        """The chunk is over."""
        assert self._chunk is not None
        self._chunk.finish()
        yield from self._known()
        self._samples += self._chunk.samples
        self._chunk = None

    def pause(self, samples: int) -> None:
        """Silence that belongs to no chunk."""
        self._samples += samples

    def _known(self) -> Iterator[SpokenWord]:
        assert self._chunk is not None
        for word, start, end in self._chunk.known():
            start, end = ((self._samples + edge) / self._rate for edge in (start, end))
            spoken = SpokenWord(
                word.text, start, end, self._chunk.index, word.first_character, word.last_character
            )
            if self._cut is not None and self._cut.first_character == word.first_character:
                spoken = replace(spoken, start=self._cut.start, chunk=self._cut.chunk)
            self._cut = spoken if word.goes_on else None
            if not word.goes_on:
                yield spoken


class _Chunk:
    """The words of one chunk, in samples from its start."""

    def __init__(self, index: int, words: Sequence[Word], tokens: int, rate: int) -> None:
        self.index, self.samples = index, 0
        self._groups = _groups(words)
        units = [(group[0].first_token, group[0].last_token) for group in self._groups]
        self._path = Path(units, tokens)
        self._places: list[int] = []
        self._frames: list[int] = [0]  # where each frame starts, and the next one
        self._loudness = Loudness(rate)
        self._rate = rate
        self._next = 0  # the group that is told next
        self._edge = 0  # nothing starts before it
        self._over = False

    def hear(
        self, audio: Float[np.ndarray, " samples"], attention: Float[np.ndarray, "heads tokens"]
    ) -> None:
        self._loudness.push(audio)
        self.samples += len(audio)
        self._frames.append(self.samples)
        self._places += self._path.push(attention)

    def finish(self) -> None:
        self._places += self._path.finish()
        self._over = True

    def known(self) -> Iterator[tuple[Word, int, int]]:
        """(word, start, end) of the words that have become known, `goes_on` included."""
        while self._next < len(self._groups):
            last = self._last_of_turn()
            if last is None:
                return
            start, stop = self._span(last)
            start, end = self._edges(start, stop)
            turn = self._groups[self._next : last + 1]
            yield from _shared([word for group in turn for word in group], start, end)
            self._edge, self._next = end, last + 1

    def _last_of_turn(self) -> int | None:
        """The next group that has frames of its own and is over; those skipped before it share
        them. None while it is not over."""
        reached = self._places[-1] if self._places else -1
        for group in range(self._next, len(self._groups)):
            place = 2 * group + 1
            if place in self._places:  # TODO speed
                return group if self._over or reached > place or self._is_silent(place) else None
        return len(self._groups) - 1 if self._over else None


def _groups(words: Sequence[Word]) -> list[list[Word]]:
    """Words that are spoken as one, together."""
    groups: list[list[Word]] = []
    for word in words:
        if groups and groups[-1][0].first_token == word.first_token:
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def _shared(words: Sequence[Word], start: int, end: int) -> Iterator[tuple[Word, int, int]]:
    """Time shared out among words by their length."""
    total, passed, begin = sum(len(word.text) for word in words), 0, start
    for word in words:
        passed += len(word.text)
        stop = start + (end - start) * passed // total
        yield word, begin, stop
        begin = stop
