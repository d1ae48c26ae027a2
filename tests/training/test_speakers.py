"""Other speakers: their sound, their data, and the vectors that lead them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.setup import phoneme_tokenizer
from training.batches.examples import BUCKETS, Examples, collate
from training.data.spectra import FRAME
from training.data.streams import LATENT_DIM, open_streams
from training.errors import TrainingError
from training.frames import append_shard
from training.judging.subjects import held_out


def write_shard(folder: Path, speakers: list[str | None], held_out: bool = False) -> Path:
    """A shard of short utterances, one a speaker."""
    rows = []
    for i, speaker in enumerate(speakers):
        row = {"text": "One boat.", "source": "x", "held_out": held_out}
        row |= {"offset": i * 2 * FRAME, "samples": 2 * FRAME}
        rows.append(row | ({"speaker": speaker} if speaker else {}))
    folder.mkdir(exist_ok=True)
    path = folder / f"part{len(list(folder.glob('*.i16')))}"
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.ones(len(rows) * 2 * FRAME, np.int16).tofile(path.with_suffix(".i16"))
    return path


def encode(frames: Path) -> None:
    for stream in open_streams(frames):
        np.zeros((len(stream.pcm), LATENT_DIM), np.float32).tofile(stream.latents_path)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return phoneme_tokenizer(tmp_path_factory.mktemp("reader") / "t.model")


def test_batches_know_who_speaks_and_join_no_two_speakers(reader, tmp_path):
    frames = tmp_path / "frames"
    append_shard(write_shard(tmp_path / "data", [None, "zoe", "abe", "abe"]), frames)
    encode(frames)
    statistics = np.zeros(LATENT_DIM), np.ones(LATENT_DIM)
    examples = Examples(frames, reader, *statistics)
    assert examples.speakers == ("abe", "zoe")
    rows = [example for bucket in BUCKETS for example in examples.train[bucket]]
    alone = [e.speaker for e in rows if e.text == "One boat."]
    assert alone == [0, 2, 1, 1]
    assert [e.speaker for e in rows if e.text != "One boat."] == [1]
    assert collate(rows, BUCKETS[0]).speaker.tolist() == [e.speaker for e in rows]


def test_a_speaker_who_comes_later_is_refused(reader, tmp_path):
    frames = tmp_path / "frames"
    append_shard(write_shard(tmp_path / "data", [None, "abe"]), frames)
    encode(frames)
    examples = Examples(frames, reader, np.zeros(LATENT_DIM), np.ones(LATENT_DIM))
    append_shard(write_shard(tmp_path / "data", ["zoe"]), frames)
    encode(frames)
    with pytest.raises(TrainingError, match="a new speaker, zoe"):
        examples.reload()


def test_each_speaker_is_judged_by_recordings_of_its_own(tmp_path):
    frames = tmp_path / "frames"
    append_shard(write_shard(tmp_path / "data", [None, "abe", None], held_out=True), frames)
    assert [u.first for _, u in held_out(frames, None)] == [0, 12]
    assert [u.first for _, u in held_out(frames, None, "abe")] == [6]
    with pytest.raises(TrainingError, match="holds no sentence out of zoe"):
        held_out(frames, None, "zoe")
