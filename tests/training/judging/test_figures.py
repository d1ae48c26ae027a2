"""Figures and their intervals: what varies is wide, what is paired is narrow."""

import json

import numpy as np
import pytest

from training.errors import TrainingError
from training.judging.figures import (
    append_line,
    differences,
    fingerprint_of,
    intervals,
    per_sentence,
    read_last_line,
)
from training.judging.intervals import difference, ratio
from training.judging.naturalness import Naturalness
from training.judging.recognition import Verdict

DRAW = np.random.default_rng(0)
SIZES = DRAW.integers(4, 12, 200).astype(float)
HARD = DRAW.integers(0, 4, 200).astype(float)


def test_an_interval_holds_its_figure_and_shrinks_with_more_sentences():
    few, many = ratio(HARD[:20], SIZES[:20]), ratio(HARD, SIZES)
    assert few.low < few.value < few.high
    assert many.value == HARD.sum() / SIZES.sum()
    assert many.high - many.low < few.high - few.low


def test_the_interval_is_that_of_the_normal_law_for_many_sentences():
    scores = DRAW.standard_normal(400)
    found = ratio(scores, np.ones(400))
    expected = 1.96 * scores.std() / 20
    assert found.high - found.value == pytest.approx(expected, rel=0.1)
    assert found.value - found.low == pytest.approx(expected, rel=0.1)


def test_what_is_hard_for_both_cancels_out():
    worse = HARD + (np.arange(200) % 10 == 0)
    paired = difference(worse, HARD, SIZES)
    assert 0 < paired.low < paired.value < paired.high
    alone = ratio(HARD, SIZES)
    assert paired.high - paired.low < alone.high - alone.low
    same = difference(HARD, HARD, SIZES)
    assert same == (0, 0, 0)


def evaluation(errors: list[int], opinions: Naturalness | None = None) -> dict:
    heard = ["one two"] * len(errors)
    verdict = Verdict(0.0, 0.0, heard, heard, errors, 0, 0)
    return {"texts": fingerprint_of(heard), "each": per_sentence(verdict, opinions, 1)}


def test_evaluations_are_kept_and_compared(tmp_path):
    scores = Naturalness(np.array([3.0, 4.0]), np.array([3.0, 3.5]))
    for errors in ([2, 2], [0, 1]):
        append_line(tmp_path / "a.jsonl", evaluation(errors, scores))
    kept = read_last_line(tmp_path / "a.jsonl")
    found = intervals(kept["each"])
    assert found["wer"].value == 0.25 and found["p808"].value == 3.5
    change = differences(evaluation([1, 1], scores), kept)
    assert change["wer"].value == 0.25 and change["overall"].value == 0
    assert set(differences(evaluation([1, 1]), evaluation([1, 1]))) == {"wer"}


def test_only_the_same_sentences_compare(tmp_path):
    with pytest.raises(TrainingError, match="same sentences"):
        differences(evaluation([1]), evaluation([1, 2]))
    for content in ("", "no json", json.dumps({"wer": 1}), "[]"):
        (tmp_path / "a.jsonl").write_text(content)
        with pytest.raises(TrainingError, match="holds no evaluation"):
            read_last_line(tmp_path / "a.jsonl")
