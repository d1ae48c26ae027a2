"""Heads that follow the text are told from those that look ahead, and from noise."""

import numpy as np
import pytest

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.text.words import Word
from training.find_heads import Speech, find_heads, lead, likelihood
from training.word_times import Errors

COUNT = 8  # words, a token each


def speech(seed):
    """Words of two to five frames, each louder at its start. Head 0 is noise, 1 looks at the word
    that is spoken, 2 one frame ahead, 3 at the last word."""
    draw = np.random.default_rng(seed)
    spoken = np.repeat(np.arange(COUNT), draw.integers(2, 6, COUNT))
    frames = len(spoken)
    attention = 0.05 * draw.random((frames, 4, COUNT), np.float32)
    attention[:, 0] += draw.random((frames, COUNT), np.float32)
    attention[np.arange(frames), 1, spoken] = 1
    attention[np.arange(frames), 2, np.append(spoken[1:], COUNT - 1)] = 1
    attention[:, 3, -1] = 1
    levels = -30 + draw.random((frames, 16))
    starts = np.flatnonzero(np.diff(spoken, prepend=-1))
    levels[starts, :8] += 15
    levels[starts[1:] - 1, 8:] -= 15
    words = tuple(Word("w", 2 * i, 2 * i + 1, i, i + 1) for i in range(COUNT))
    return Speech(Prompt("text", tuple(range(COUNT)), 3, 100, words), attention, levels)


def test_the_head_on_the_spoken_word_is_found():
    spoken = [speech(seed) for seed in range(6)]
    assert lead(spoken, 1) == 0 and lead(spoken, 2) == 1
    assert likelihood(spoken, [2]) == pytest.approx(likelihood(spoken, [1]), abs=0.1)
    assert likelihood(spoken, [1]) > likelihood(spoken, [3]) > -10
    assert find_heads(spoken)[0] == 1 and 2 not in find_heads(spoken)


def test_a_model_that_follows_nothing_is_said_so():
    spoken = [speech(seed) for seed in range(3)]
    ahead = [s._replace(attention=s.attention[:, 2:3]) for s in spoken]
    with pytest.raises(ConfigError, match="No head of this model"):
        find_heads(ahead)


def test_the_report_takes_the_median_of_the_aligner_off():
    errors = Errors(words=2, sentences=1, attention=[0.01, -0.03], fit=[0.001])
    errors.aligner, errors.aligner_itself = [0.05, 0.07], [-0.05, -0.05, -0.03]
    report = errors.report()
    assert report["attention against the fitted durations"] == {
        "words": 2,
        "mean": 20.0,
        "95 %": 29.0,
        "median with sign": -10.0,
    }
    assert report["attention against the forced aligner"]["mean"] == 10.0  # pyright: ignore
    assert report["the forced aligner itself, on the teacher"]["mean"] == 6.7  # pyright: ignore
    assert "character counts against the same" not in report
