"""What of a stream a codec is trained on."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.batches.crops import OPENINGS, Crops
from training.data.streams import LATENT_DIM, open_streams

UTTERANCES = ((0, 10, False), (10, 8, True), (18, 12, False))  # first, frames, held out


@pytest.fixture
def frames_folder(tmp_path: Path) -> Path:
    """Three utterances in a stream, the second held out."""
    draw = np.random.default_rng(0)
    draw.integers(-900, 900, (30, 1920)).astype(np.int16).tofile(tmp_path / "part0.pcm")
    draw.standard_normal((30, LATENT_DIM)).astype(np.float32).tofile(tmp_path / "part0.latents")
    index = (
        {"text": "Ah.", "source": "test", "held_out": held, "ends": None, "pieces": None}
        | {"first": first, "frames": frames, "speech": frames - 4}
        for first, frames, held in UTTERANCES
    )
    (tmp_path / "part0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in index))
    return tmp_path


def test_crops_touch_nothing_that_is_held_out(frames_folder):
    marks = np.repeat(np.arange(30, dtype=np.float32), LATENT_DIM)
    marks.tofile(frames_folder / "part0.latents")
    crops = Crops(frames_folder, frames=4)
    frames = np.concatenate([crops.batch(0, step, 8).latents[:, :, 0] for step in range(20)])
    assert set(frames.ravel()) == {*range(10), *range(18, 30)}
    (stream,) = open_streams(frames_folder)
    first = crops.batch(0, 0, 1)
    np.testing.assert_array_equal(first.audio[0], stream.audio(int(first.latents[0, 0, 0]), 4))


def test_more_crops_begin_with_an_utterance_than_chance_gives(frames_folder):
    marks = np.repeat(np.arange(30, dtype=np.float32), LATENT_DIM)
    marks.tofile(frames_folder / "part0.latents")
    crops = Crops(frames_folder, frames=4)
    (stream,) = open_streams(frames_folder)
    openings = {u.first for u in stream.utterances if not u.held_out}
    by_chance = len(openings) / len(crops.starts[0])
    firsts = np.concatenate([crops.batch(0, step, 8).latents[:, 0, 0] for step in range(100)])
    share = np.isin(firsts, list(openings)).mean()
    assert share == pytest.approx(OPENINGS + (1 - OPENINGS) * by_chance, abs=0.06)


def test_what_is_missing_is_said(frames_folder):
    with pytest.raises(FileNotFoundError, match="no stretch of 13 frames .* longer utterances"):
        Crops(frames_folder, frames=13)
    (frames_folder / "part0.latents").unlink()
    with pytest.raises(FileNotFoundError, match=r"training\.mel_codec encode"):
        Crops(frames_folder, frames=4)
    assert Crops(frames_folder, frames=4, with_latents=False).batch(0, 0, 1).audio.any()
    with pytest.raises(FileNotFoundError, match="not held out.$"):
        Crops(frames_folder, frames=13, with_latents=False)
