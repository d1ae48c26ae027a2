"""The monotonic path through attention."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.alignment.path import LAG, Path


def attention(rows, tokens, noise=0.0, seed=0):
    """One head that looks at one token in each frame."""
    draw = np.random.default_rng(seed)
    weights = np.zeros((len(rows), 1, tokens), np.float32)
    for frame, token in enumerate(rows):
        weights[frame, 0, token] = 1
    return weights + noise * draw.random(weights.shape, np.float32)


def places(path, frames):
    found, delays = [], []
    for number, frame in enumerate(frames):
        new = path.push(frame)
        delays += [number - len(found) - i for i in range(len(new))]
        found += new
    assert all(delay <= LAG for delay in delays)
    return found + path.finish()


def test_frames_go_to_the_words_whose_tokens_were_looked_at():
    units = [(0, 2), (2, 3), (4, 6)]  # token 3 is a comma
    frames = attention([0, 1, 1, 2, 3, 3, 4, 5], 6)
    assert places(Path(units, 6), frames) == [1, 1, 1, 3, 4, 4, 5, 5]


def test_a_glance_ahead_is_no_step():
    frames = attention([0, 0, 0, 2, 0, 0, 1, 1, 2, 2], 3)
    assert places(Path([(0, 1), (1, 2), (2, 3)], 3), frames) == [1, 1, 1, 1, 1, 1, 3, 3, 5, 5]


def test_silence_before_the_first_word():
    assert places(Path([(1, 2)], 2), attention([0, 0, 1, 1], 2)) == [0, 0, 1, 1]


def test_a_word_without_a_frame_is_passed_over():
    units = [(0, 1), (1, 2), (2, 3)]
    assert places(Path(units, 3), attention([0, 2], 3)) == [1, 5]


def test_attention_to_nothing_in_the_text_counts_for_no_word():
    frames = attention([0, 0, 1, 1], 2)
    frames[1] = 0
    assert places(Path([(0, 1), (1, 2)], 2), frames) == [1, 1, 3, 3]


def test_no_frames_and_no_words():
    assert Path([(0, 1)], 1).finish() == []
    assert places(Path([], 2), attention([0, 1], 2)) == [0, 0]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(0, 40), st.integers(0, 10_000))
def test_any_attention_gives_a_path_that_never_goes_back(words, frames, seed):
    draw = np.random.default_rng(seed)
    bounds = np.sort(draw.choice(np.arange(3 * words), 2 * words, replace=False))
    units = [(int(a), int(b)) for a, b in bounds.reshape(-1, 2)]
    found = places(Path(units, 3 * words), draw.random((frames, 2, 3 * words), np.float32))
    assert len(found) == frames
    assert all(a <= b for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("seed", range(5))
def test_words_are_found_in_noise(seed):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(2, 6, 12)
    rows = np.repeat(np.arange(12), lengths)
    found = places(Path([(i, i + 1) for i in range(12)], 12), attention(rows, 12, 0.3, seed))
    assert np.mean(np.array(found) == 2 * rows + 1) > 0.9
