"""Word times of a stream: chunks, pauses, cut words, silence and delay."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.alignment.timer import WordTimer
from pocket_tts_jax.text.words import Word

RATE, FRAME = 24000, 1920
HUM = (0.3 * np.sin(2 * np.pi * 200 * np.arange(FRAME) / RATE)).astype(np.float32)
QUIET = np.zeros(FRAME, np.float32)


def words(*texts, goes_on=False, first_character=0):
    """One token each, a character between."""
    found, place = [], first_character
    for i, text in enumerate(texts):
        found.append(Word(text, place, place + len(text), i, i + 1))
        place += len(text) + 1
    if goes_on:
        last = found[-1]
        found[-1] = Word(
            *(last.text, last.first_character, last.last_character),
            len(found) - 1,
            len(found),
            True,
        )
    return found


class Stream:
    """A timer that is told frames by the number of the word in them; "_" is a quiet frame of it."""

    def __init__(self, pace=1.0):
        self.told: list[SpokenWord] = []
        self.at: list[float] = []
        self.now = 0.0
        self.timer = WordTimer(RATE, self.note, pace)

    def note(self, word):
        self.told.append(word)
        self.at.append(self.now)

    def chunk(self, number, units, frames, tokens=None):
        tokens = tokens or len(units)
        self.timer.begin(number, units, tokens)
        for frame in frames:
            attention = np.zeros((2, tokens), np.float32)
            attention[:, int(frame.strip("_"))] = 1
            self.now += FRAME / RATE
            self.timer.hear(QUIET if frame.startswith("_") else HUM, attention)
        self.timer.end()

    def pause(self, seconds):
        self.timer.pause(round(seconds * RATE))
        self.now += seconds

    @property
    def times(self):
        return [(w.text, round(w.start, 3), round(w.end, 3)) for w in self.told]


def test_words_of_a_chunk():
    stream = Stream()
    stream.chunk(0, words("one", "two", "three"), "0 0 0 1 1 2 2 2 2".split())
    assert stream.times == [("one", 0.0, 0.24), ("two", 0.24, 0.4), ("three", 0.4, 0.72)]


def test_chunks_have_the_pace_and_pauses_have_not():
    stream = Stream(pace=2)
    stream.chunk(0, words("one", "two"), "0 0 1 1".split())
    stream.pause(0.5)
    stream.chunk(1, words("three"), "0 0".split())
    assert stream.times == [("one", 0.0, 0.08), ("two", 0.08, 0.16), ("three", 0.66, 0.74)]


def test_pauses_and_chunks_count():
    stream = Stream()
    stream.chunk(0, words("one", "two"), "0 0 1 1".split())
    stream.pause(0.5)
    stream.chunk(1, words("three", first_character=8), "0 0 0".split())
    assert stream.times[-1] == ("three", 0.82, 1.06)
    assert [w.chunk for w in stream.told] == [0, 0, 1]


def test_silence_belongs_to_no_word():
    stream = Stream()
    stream.chunk(0, words("one", "two"), "_0 _0 0 0 _0 _0 _1 _1 1 1 _1".split())
    assert stream.times == [("one", 0.16, 0.32), ("two", 0.64, 0.8)]


def test_a_word_before_a_long_silence_is_known_at_once():
    stream = Stream()
    frames = [*"0 0 0".split(), *["_0"] * 20, *"1 1".split()]
    stream.chunk(0, words("one", "two"), frames)
    assert stream.times[0] == ("one", 0.0, 0.24)
    assert stream.at[0] - 0.24 <= 0.5


def test_a_word_that_is_cut_is_told_once():
    stream = Stream()
    stream.chunk(0, words("so", "555-1234", goes_on=True), "0 0 1 1".split())
    assert stream.times == [("so", 0.0, 0.16)]
    stream.pause(0.1)
    rest = [Word("555-1234", 3, 11, 0, 1), Word("now", 12, 15, 1, 2)]
    stream.chunk(1, rest, "0 0 1 1".split())
    assert stream.times[1:] == [("555-1234", 0.16, 0.58), ("now", 0.58, 0.74)]
    assert [w.chunk for w in stream.told] == [0, 0, 1]


def test_words_with_the_same_tokens_share_their_time():
    stream = Stream()
    same = [Word("24", 0, 2, 0, 1), Word("of", 3, 5, 0, 1), Word("May", 6, 9, 1, 2)]
    stream.chunk(0, same, "0 0 0 0 1 1".split(), tokens=2)
    assert stream.times == [("24", 0.0, 0.16), ("of", 0.16, 0.32), ("May", 0.32, 0.48)]


def test_a_chunk_that_ends_too_early_still_tells_every_word():
    stream = Stream()
    stream.chunk(0, words("a", "b", "c", "d"), "0 1".split())
    assert [w.text for w in stream.told] == list("abcd")
    assert stream.told[-1].end <= 0.16


def test_a_chunk_without_words_and_one_without_frames():
    stream = Stream()
    stream.chunk(0, [], "0 0".split(), tokens=1)
    stream.chunk(1, words("one"), [])
    stream.chunk(2, words("two"), ["0"])
    assert stream.times == [("one", 0.16, 0.16), ("two", 0.16, 0.24)]


def test_at_another_speed_and_place():
    word = SpokenWord("a", 1.0, 2.0, 0, 3, 4)
    assert word.at_speed(2.0) == SpokenWord("a", 0.5, 1.0, 0, 3, 4)
    assert word.later(1.5, 10) == SpokenWord("a", 2.5, 3.5, 0, 13, 14)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.lists(st.booleans(), max_size=40), st.integers(0, 10_000))
def test_any_attention_and_audio(count, loud, seed):
    """All words, in order, within the audio, none told later than half a second after its end."""
    draw = np.random.default_rng(seed)
    told, now = [], 0.0
    timer = WordTimer(RATE, lambda word: told.append((word, now)))
    timer.begin(0, words(*"abcdef"[:count]), count)
    for one in loud:
        now += FRAME / RATE
        timer.hear(HUM if one else QUIET, draw.random((2, count), np.float32) ** 4)
    timer.end()
    assert [word.text for word, _ in told] == list("abcdef"[:count])
    edges = [edge for word, _ in told for edge in (word.start, word.end)]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(edges))
    assert edges[0] >= 0 and edges[-1] <= now + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_delay(seed):
    """With words that last a while, each is known at most half a second after its end."""
    draw = np.random.default_rng(seed)
    stream = Stream()
    frames = [str(i) for i in range(6) for _ in range(draw.integers(2, 8))]
    stream.chunk(0, words(*"abcdef"), frames)
    for word, at in zip(stream.told, stream.at, strict=True):
        assert at - word.end <= 0.5
