"""Shards of speech to frames, and frames to FlowLM's batches."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.setup import phoneme_tokenizer
from training import frames
from training.batches.examples import BUCKETS, Examples
from training.data.phonemes import spell
from training.data.spectra import FRAME
from training.data.streams import LATENT_DIM, TAIL, open_streams
from training.data.teacher import read_shard, write_shard
from training.errors import TrainingError
from training.frames import append_shard
from training.tokens import train_tokenizer


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return phoneme_tokenizer(tmp_path_factory.mktemp("reader") / "t.model")


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
    index = out / "part0.jsonl"
    whole = index.read_bytes()
    index.write_bytes(whole[:-9])  # as a killed process leaves it
    assert [u.first for u in open_streams(out)[0].utterances] == [0]
    assert append_shard(shard, out) == 1
    assert index.read_bytes() == whole
    (stream,) = open_streams(out)
    assert [u.speech for u in stream.utterances] == [2, 2]
    assert [u.first for u in stream.utterances] == [0, 2 + TAIL]
    audio = stream.audio(0, 2 + TAIL)
    assert (audio[:3000] > 0).all() and not audio[3000:].any()


def test_what_was_spoken_stays_when_the_tokenizer_learns_to_read_better(reader, shard, tmp_path):
    import sentencepiece

    spoken = ["\u2581", *spell("W AH1 N"), "\u2581", *spell("B OW1 T"), "."]
    index = shard.with_suffix(".jsonl")
    rows = [json.loads(line) for line in index.read_text().splitlines()[:2]]
    for row in rows:
        row |= {"pieces": spoken, "ends": [0.02 * (i + 1) for i in range(len(spoken))]}
    index.write_text("".join(json.dumps(row) + "\n" for row in rows))
    append_shard(shard, tmp_path / "frames")
    (stream,) = open_streams(tmp_path / "frames")
    assert stream.utterances[0].pieces == tuple(spoken)
    np.zeros((2 * (2 + TAIL), LATENT_DIM), np.float32).tofile(stream.latents_path)
    examples = Examples(tmp_path / "frames", reader, np.zeros(LATENT_DIM), np.ones(LATENT_DIM))
    (example,) = examples.train[BUCKETS[0]]
    assert example.tokens.tolist() == [reader.piece_to_id(p) for p in spoken]
    letters = tmp_path / "letters.model"
    train_tokenizer(["Hello there.", "What now?"] * 20, letters)
    with pytest.raises(ValueError, match="spoken in tokens that this tokenizer lacks"):
        Examples(
            tmp_path / "frames",
            sentencepiece.SentencePieceProcessor(model_file=str(letters)),
            np.zeros(LATENT_DIM),
            np.ones(LATENT_DIM),
        )


def write_frames(folder: Path, name: str, texts: list[str], held_out: bool = False) -> None:
    """A stream of eight frames a text, with latents that tell the texts apart."""
    count = 8 * len(texts)
    np.ones((count, FRAME), np.int16).tofile(folder / f"{name}.pcm")
    marks = np.repeat([sum(map(ord, text)) for text in texts], 8 * LATENT_DIM)
    marks.astype(np.float32).tofile(folder / f"{name}.latents")
    row = {"source": "x", "held_out": held_out, "ends": None, "pieces": None, "frames": 8}
    rows = [row | {"text": t, "first": 8 * i, "speech": 4} for i, t in enumerate(texts)]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_grown_data_gives_the_same_batches_as_fresh_data(reader, tmp_path):
    statistics = np.zeros(LATENT_DIM), np.ones(LATENT_DIM)
    write_frames(tmp_path, "a", ["One b.", "Boat.", "Hello."])
    write_frames(tmp_path, "b", ["Better."])
    grown = Examples(tmp_path, reader, *statistics)
    assert grown.reload() == 4 + 1  # and a pair
    write_frames(tmp_path, "a", ["One b.", "Boat.", "Hello.", "Of one."])
    write_frames(tmp_path, "b", ["Better.", "A boat."])
    assert grown.reload() == 6 + 3
    fresh = Examples(tmp_path, reader, *statistics)
    for step in range(5):
        a, b = (examples.batch(0, step)[1] for examples in (grown, fresh))
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_nothing_to_train_on_is_said(reader, tmp_path):
    statistics = np.zeros(LATENT_DIM), np.ones(LATENT_DIM)
    write_frames(tmp_path, "a", ["One b."], held_out=True)
    with pytest.raises(FileNotFoundError, match="no utterance to train on"):
        Examples(tmp_path, reader, *statistics)
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(FileNotFoundError, match="no whole utterance"):
        open_streams(tmp_path)
    (tmp_path / "a.pcm").write_bytes(b"")
    with pytest.raises(ValueError, match="a.pcm is empty"):
        open_streams(tmp_path)


def test_a_folder_without_shards_is_refused(tmp_path, monkeypatch):
    arguments = ["frames", "--shards", str(tmp_path), "--out", str(tmp_path / "frames")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(FileNotFoundError, match=r"training\.data\.teacher"):
        frames.main()


class Murmur:
    """A teacher of few words, and its tokenizer."""

    def encode(self, text: str, out_type: type) -> list[str]:
        return text.split()

    def speak(self, pieces: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return np.full(2 * FRAME, 0.5), np.arange(1, len(pieces) + 1) * 0.08


def test_the_teacher_goes_on_behind_the_last_whole_line(shard):
    sentences = [{"text": f"{i} one", "source": "x", "held_out": False} for i in range(4)]
    whole = shard.with_suffix(".jsonl").read_bytes()
    kept = whole[: whole.rindex(b"\n") + 1]
    write_shard(sentences, shard, Murmur(), Murmur(), hours=1)  # pyright: ignore
    assert shard.with_suffix(".jsonl").read_bytes().startswith(kept)
    rows = read_shard(shard)
    assert [row["text"] for row in rows] == ["One two.", "One two.", "2 one", "3 one"]
    assert shard.with_suffix(".i16").stat().st_size == 2 * sum(row["samples"] for row in rows)


def test_own_data_that_lacks_a_key_or_is_no_json_is_refused(tmp_path):
    good = {"text": "Ah.", "source": "me", "held_out": False, "offset": 0, "samples": 10}
    np.zeros(20, np.int16).tofile(tmp_path / "part0.i16")
    index = tmp_path / "part0.jsonl"
    bad = {key: value for key, value in good.items() if key not in ("source", "held_out")}
    index.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    with pytest.raises(TrainingError, match="Line 2 of .* lacks source, held_out"):
        read_shard(tmp_path / "part0")
    index.write_text(f"nothing\n{json.dumps(good)}\n")
    with pytest.raises(TrainingError, match="Line 1 of .* is no JSON"):
        read_shard(tmp_path / "part0")
    index.write_text(json.dumps(good) + "\n")
    assert append_shard(tmp_path / "part0", tmp_path / "frames") == 1
    (utterance,) = open_streams(tmp_path / "frames")[0].utterances
    assert utterance.ends is None and utterance.pieces is None
