"""The fixed lists are what they were when figures were taken."""

import pytest

from training.errors import TrainingError
from training.judging import sentences
from training.judging.sentences import LISTS, fixed_sentences


def test_the_lists_are_whole_and_apart():
    lists = {name: fixed_sentences(name) for name in LISTS}
    assert {name: len(found) for name, found in lists.items()} == {"held_out": 200, "new": 100}
    assert not set(lists["held_out"]) & set(lists["new"])
    for found in lists.values():
        assert len(set(found)) == len(found) and all(line.strip() == line for line in found)


def test_a_changed_list_is_refused(tmp_path, monkeypatch):
    (tmp_path / "new.txt").write_text("Another sentence.\n")
    monkeypatch.setattr(sentences, "FOLDER", tmp_path)
    with pytest.raises(TrainingError, match="was changed"):
        fixed_sentences("new")
