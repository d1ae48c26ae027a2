"""FlowLM's latents in step with recordings, and decoders that are trained on them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training_setup import tiny_config
from training.crops import Crops
from training.forced import append_forced, predictor
from training.frames import LATENT_DIM, open_streams
from training.initialise import initial_tensors
from training.speak import speak_latents
from training.variance import lacking_spread

CONFIG = tiny_config()
UTTERANCES = ((0, 10, False), (10, 8, True), (18, 12, False))  # first, frames, held out
TOKENS = ([1, 2, 3], [4, 5], [6, 7, 8, 9])


def write_frames(folder: Path, count: int) -> Path:
    """A stream of the first `count` utterances, with sound and latents."""
    rows = UTTERANCES[:count]
    total = rows[-1][0] + rows[-1][1]
    draw = np.random.default_rng(0)
    draw.integers(-900, 900, (30, 1920)).astype(np.int16)[:total].tofile(folder / "part0.pcm")
    latents = draw.standard_normal((30, LATENT_DIM)).astype(np.float32)
    latents[:total].tofile(folder / "part0.latents")
    index = (
        {"text": "Ah.", "source": "test", "held_out": held, "ends": None, "pieces": None}
        | {"first": first, "frames": frames, "speech": frames - 4}
        for first, frames, held in rows
    )
    (folder / "part0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in index))
    return folder


@pytest.fixture(scope="module")
def tensors():
    return initial_tensors(CONFIG)


def test_forced_latents_keep_step_and_are_completed(tmp_path, tensors):
    predict = predictor(CONFIG, tensors)
    (stream,) = open_streams(write_frames(tmp_path, 2))
    assert append_forced(stream, TOKENS, predict) == 18
    assert append_forced(stream, TOKENS, predict) == 0
    whole = stream.forced_path.read_bytes()
    # A kill in the middle of writing, and an utterance that came later.
    stream.forced_path.write_bytes(whole[: 12 * 4 * LATENT_DIM + 5])
    (stream,) = open_streams(write_frames(tmp_path, 3))
    assert append_forced(stream, TOKENS, predict) == 20
    forced = np.frombuffer(stream.forced_path.read_bytes(), np.float32).reshape(-1, LATENT_DIM)
    assert forced.shape == (30, LATENT_DIM)
    for u, tokens in zip(stream.utterances, TOKENS, strict=True):
        (alone,) = predict([(stream, u)], [tokens])
        np.testing.assert_allclose(forced[u.first : u.first + u.frames], alone, atol=1e-5)


def test_a_prediction_follows_its_own_history_if_asked(tmp_path, tensors):
    (stream,) = open_streams(write_frames(tmp_path, 1))
    rows = [(stream, stream.utterances[0])]
    (true,) = predictor(CONFIG, tensors)(rows, TOKENS[:1])
    (own,) = predictor(CONFIG, tensors, own_history=True)(rows, TOKENS[:1])
    np.testing.assert_allclose(true[0], own[0], atol=1e-5)  # nothing has been said before it
    assert np.abs(true[2:] - own[2:]).max() > 1e-3


def test_crops_take_the_share_of_forced_latents_and_nothing_held_out(tmp_path):
    write_frames(tmp_path, 3)
    with pytest.raises(FileNotFoundError, match=r"training\.forced"):
        Crops(tmp_path, frames=4, forced=0.5)
    marks = np.repeat(np.arange(30, dtype=np.float32), LATENT_DIM)
    marks.tofile(tmp_path / "part0.latents")
    (1000 + marks[: 12 * LATENT_DIM]).tofile(tmp_path / "part0.forced")  # the first utterance's
    crops = Crops(tmp_path, frames=4, forced=0.5)
    batches = [crops.batch(0, step, 8) for step in range(20)]
    latents = np.concatenate([b.latents for b in batches])
    real = np.concatenate([b.real for b in batches]).astype(bool)
    assert 0.3 < real.mean() < 0.7
    assert (latents[real] < 1000).all() and (latents[~real] >= 1000).all()
    frames = latents[:, :, 0] % 1000
    assert not ((frames >= 10) & (frames < 18)).any()
    (stream,) = open_streams(tmp_path)
    np.testing.assert_array_equal(batches[0].audio[0], stream.audio(int(frames[0, 0]), 4))


class Letters:
    """A tokenizer that reads every text alike."""

    def encode(self, text: str, out_type: type) -> list[str]:
        return ["a", "b", "c"]

    def piece_to_id(self, piece: str) -> int:
        return ord(piece) - 96

    def unk_id(self) -> int:
        return 0


def test_scaled_latents_spread_like_real_ones(tmp_path, tensors):
    (stream,) = open_streams(write_frames(tmp_path, 3))
    factors = lacking_spread(CONFIG, tensors, tmp_path, Letters())  # pyright: ignore
    said = speak_latents(CONFIG, tensors, [[1, 2, 3], [1, 2, 3]], max_frames=24)
    spoken = np.concatenate([s.latents[: s.frames] for s in said])
    spans = [(u.first, u.first + u.speech) for u in stream.utterances if not u.held_out]
    real = np.concatenate([stream.latents[a:b] for a, b in spans])
    np.testing.assert_allclose(spoken.std(0) * factors, real.std(0), rtol=1e-3)
