"""Text, alignments and batches for training."""

import json

import numpy as np
import pytest

from training.data.everyday import everyday_sentences
from training.data.sentences import clean, is_readable, split_sentences
from training.data.teacher import read_shard
from training.features import FRAME
from training.frames import TAIL, append_shard, open_streams
from training.judge import plain_words
from training.lm_data import BUCKETS, Bucket, Example, collate, frame_words, join
from training.tokens import train_tokenizer, word_spans


def test_cleaning_and_filtering():
    text = clean("\u201cHe said \u2014 well -- \u2018no\u2019.\u201d  And I \u2019ll go.")
    assert split_sentences(text) == ["He said, well, 'no'.", "And I 'll go."]
    assert is_readable("We can't, of course.")
    for bad in ("It cost 5 dollars.", "NATO is here.", "Mr. Smith came.", "no capital."):
        assert not is_readable(bad)


def test_everyday_sentences_are_seeded_spoken_and_well_formed():
    sentences = everyday_sentences(400, seed=3)
    assert sentences == everyday_sentences(400, seed=3)
    assert not [s for s in sentences if any(c.isdigit() or c in '{}"' for c in s)]
    assert all(s[0].isupper() and s[-1] in ".?!" for s in sentences)
    assert not [s for s in sentences if " a o" in s or " a e" in s]


@pytest.fixture
def shard(tmp_path):
    rows = [(3000, False), (FRAME * 2, True)]
    offset = 0
    with open(tmp_path / "part0.jsonl", "w") as file:
        for samples, held in rows:
            row = {"text": "One two.", "source": "x", "held_out": held, "ends": [0.05, 0.12]}
            file.write(json.dumps(row | {"offset": offset, "samples": samples}) + "\n")
            offset += samples
        file.write('{"text": "cut o')  # as a killed process leaves it
    np.ones(offset, np.int16).tofile(tmp_path / "part0.i16")
    return tmp_path / "part0"


def test_a_broken_last_line_is_left_out_and_frames_are_appended_once(shard, tmp_path):
    assert len(read_shard(shard)) == 2
    out = tmp_path / "frames"
    assert append_shard(shard, out) == 2
    assert append_shard(shard, out) == 0
    (stream,) = open_streams(out)
    assert [u.speech for u in stream.utterances] == [2, 2]
    assert [u.first for u in stream.utterances] == [0, 2 + TAIL]
    audio = stream.audio(0, 2 + TAIL)
    assert (audio[:3000] > 0).all() and not audio[3000:].any()


def test_tokenizer_folds_case_and_covers_digits(tmp_path):
    import sentencepiece

    train_tokenizer(["Hello there.", "What now?"] * 20, tmp_path / "t.model")
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "t.model"))
    assert model.encode("HELLO, 42!") == model.encode("hello, 42!")
    assert model.unk_id() not in model.encode('A quick brown fox: 0123456789 (yes) - "no"; it\'s?')
    pieces = model.encode("One two.", out_type=str)
    assert ["".join(pieces[a:b]) for a, b in word_spans(pieces)] == ["\u2581one", "\u2581two."]


def test_frame_words_follow_the_ends_and_keep_the_last():
    words = frame_words([0.1, 0.3], [(0, 2), (2, 5)], 5)
    assert words is not None
    np.testing.assert_array_equal(words[:, 0], [0, 2, 2, 2, 2])
    assert frame_words([0.1], [(0, 2), (2, 5)], 5) is None


def example(tokens: int, frames: int) -> Example:
    words = np.tile(np.array([[0, tokens, 0, 2]], np.int32), (frames, 1))
    ids = np.arange(1, tokens + 1, dtype=np.int32)
    return Example("x", ids, np.ones((frames, 32), np.float32), frames - 6, words)


def test_collate_packs_start_text_and_audio():
    batch = collate([example(3, 8), example(5, 10)], Bucket(20, 12, 2))
    np.testing.assert_array_equal(batch.tokens[0, :5], [0, 1, 2, 3, 0])
    assert batch.frames.tolist() == [8, 10]
    assert batch.word_start[0, 0] == 1 and batch.word_end[0, 0] == 4
    assert not batch.word_end[0, 8:].any()


def test_joined_sentences_keep_their_words_and_one_end():
    joined = join(example(3, 12), example(4, 12))
    assert joined.tokens.tolist() == [1, 2, 3, 1, 2, 3, 4]
    cut = 12 - 6 + 2 + 2
    assert len(joined.latents) == cut + 12 and joined.end == cut + 6
    assert joined.words is not None and joined.words[cut].tolist() == [3, 7, 3, 5]


def test_buckets_grow():
    sizes = [(b.positions, b.frames) for b in BUCKETS]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("It's seven fifteen.", "its 7:15"),
        ("Today is May third, nineteen fifty-one.", "Today is May 3rd, 1951."),
        ("It costs forty-two dollars and three cents.", "It costs $42.03."),
        ("We can't go.", "We cannot go."),
    ],
)
def test_the_judge_reads_numbers_as_words(said, heard):
    said, heard = plain_words(said), plain_words(heard)
    assert said.replace("it is", "its").split()[-2:] == heard.split()[-2:]
