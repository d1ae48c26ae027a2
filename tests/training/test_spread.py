"""Latents with the spread of real ones: the map, its axes, and what turns along with them."""

import sys
from pathlib import Path

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

from pocket_tts_jax.config import load_config
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.weights.checkpoint import load_checkpoint
from pocket_tts_jax.weights.expected import parameter_shapes
from tests.training.setup import phoneme_tokenizer, tiny_config
from training import spread
from training.batches.mel_codec import MelCodec, encode_mels
from training.data.spectra import MEL_BINS, MELS_PER_FRAME
from training.data.streams import LATENT_DIM
from training.errors import TrainingError
from training.frames import append_shard
from training.judging.speak import speak_latents, waveform_decoder
from training.loop.initialise import initial_tensors
from training.spread import Spread, lacking_spread, turned_codec, turned_model

CONFIG = tiny_config()
DRAW = np.random.default_rng(0)
STATISTICS = (
    DRAW.standard_normal(LATENT_DIM).astype(np.float32),
    np.exp(0.3 * DRAW.standard_normal(LATENT_DIM)).astype(np.float32),
)


def mixed(count: int, seed: int) -> np.ndarray:
    """Latents that depend on each other."""
    draw = np.random.default_rng(seed)
    mix = np.eye(LATENT_DIM) + 0.1 * draw.standard_normal((LATENT_DIM, LATENT_DIM))
    return draw.standard_normal((count, LATENT_DIM)) @ mix


def some_spread() -> Spread:
    return lacking_spread(0.7 * mixed(500, 1), mixed(500, 2))


def made_up_codec() -> dict[str, np.ndarray]:
    import jax
    import jax.numpy as jnp

    mel = jnp.zeros((1, 3 * MELS_PER_FRAME, MEL_BINS))
    params = MelCodec().init(jax.random.key(0), mel, jnp.zeros((1, 1, LATENT_DIM)))
    codec = {n: np.asarray(t) for n, t in flatten_dict(params, sep="/").items()}  # pyright: ignore
    codec |= {"mel.mean": np.zeros(MEL_BINS, np.float32), "mel.scale": np.ones(1, np.float32)}
    return codec | {"latents.mean": STATISTICS[0], "latents.std": STATISTICS[1]}


def test_widened_latents_have_the_covariance_of_real_ones():
    spoken, real = 0.7 * mixed(500, 1), mixed(500, 2)
    axes, factors = lacking_spread(spoken, real)
    np.testing.assert_allclose(axes @ axes.T, np.eye(LATENT_DIM), atol=1e-9)
    widened = spoken @ (axes * factors) @ axes.T
    np.testing.assert_allclose(np.cov(widened.T), np.cov(real.T), atol=1e-4)
    # Of all maps that do so, the symmetric positive one moves them least.
    assert factors.min() > 0
    mirrored = widened * np.where(np.arange(LATENT_DIM) == 3, -1, 1)
    assert np.square(widened - spoken).sum() < np.square(mirrored - spoken).sum()


def test_latents_that_lack_nothing_stay():
    real = mixed(500, 2)
    np.testing.assert_allclose(lacking_spread(real, real).factors, 1, atol=1e-6)


def test_a_turned_model_speaks_the_same_but_wider():
    """Turned alone (factors to the power of 0) nothing changes; then along its axes the factors."""
    mean, std = STATISTICS
    tensors = initial_tensors(CONFIG, seed=2)
    tensors |= {"flow_lm.emb_mean": mean, "flow_lm.emb_std": std}
    wide = some_spread()
    decode, turned = waveform_decoder(CONFIG, tensors), {}
    for power in (0.0, 2.0):
        turned[power] = turned_model(tensors, STATISTICS, wide, power)
        assert {n: t.dtype for n, t in turned[power].items()} == dict.fromkeys(tensors, np.float32)
    (before,) = speak_latents(CONFIG, tensors, [[1, 2, 3]], max_frames=5)
    (same,) = speak_latents(CONFIG, turned[0.0], [[1, 2, 3]], max_frames=5)
    normal = (before.latents - mean) / std
    assert normal.std() > 1e-2
    np.testing.assert_allclose(same.latents, (normal + mean / std) @ wide.axes, atol=1e-4)
    audio = waveform_decoder(CONFIG, turned[0.0])(same.latents)
    np.testing.assert_allclose(audio, decode(before.latents), atol=1e-5)
    (far,) = speak_latents(CONFIG, turned[2.0], [[1, 2, 3]], max_frames=5)
    widened = normal @ (wide.axes * wide.factors**2) @ wide.axes.T * std + mean
    audio = waveform_decoder(CONFIG, turned[2.0])(far.latents)
    np.testing.assert_allclose(audio, decode(widened.astype(np.float32)), atol=1e-4)


def test_the_turned_codec_makes_the_latents_of_the_turned_model():
    codec, wide = made_up_codec(), some_spread()
    turned = turned_codec(codec, wide)
    mel = np.random.default_rng(3).standard_normal((4 * MELS_PER_FRAME, MEL_BINS))
    latents = encode_mels(codec, mel.astype(np.float32))
    found = encode_mels(turned, mel.astype(np.float32))
    np.testing.assert_allclose(found, latents / STATISTICS[1] @ wide.axes, atol=1e-4)
    np.testing.assert_allclose(
        turned["latents.mean"], STATISTICS[0] / STATISTICS[1] @ wide.axes, atol=1e-5
    )
    assert (turned["latents.std"] == 1).all()

    def decoded(codec: dict[str, np.ndarray], latents: np.ndarray) -> np.ndarray:
        from flax.traverse_util import unflatten_dict

        params = unflatten_dict({k: v for k, v in codec.items() if k.startswith("params")}, sep="/")
        return np.asarray(MelCodec().apply(params, latents[None], method="decode"))

    np.testing.assert_allclose(decoded(turned, found), decoded(codec, latents), atol=1e-4)


def write_recordings(folder: Path) -> Path:
    """Three utterances, the second held out, the third without latents yet."""
    rows = "".join(
        f'{{"text": "One boat.", "source": "x", "held_out": {held}, "offset": {i * 19200}, '
        '"samples": 19200}\n'
        for i, held in enumerate(("false", "true", "false"))
    )
    (folder / "part0.jsonl").write_text(rows)
    np.random.default_rng(0).integers(-900, 900, 3 * 19200).astype(np.int16).tofile(
        folder / "part0.i16"
    )
    append_shard(folder / "part0", folder / "frames")
    count = 2 * 14
    mixed(count, 4).astype(np.float32).tofile(folder / "frames" / "part0.latents")
    return folder / "frames"


def run(monkeypatch, model: Path, codec: Path, frames: Path, out: Path) -> None:
    options = ["--model", model, "--codec", codec, "--frames", frames, "--out", out]
    options += ["--codec-out", out.with_suffix(".safetensors")]
    monkeypatch.setattr(sys, "argv", ["spread", *map(str, options)])
    spread.main()


def test_from_a_folder_to_a_wider_one(tmp_path, monkeypatch):
    model, frames = write_model(tmp_path / "model"), write_recordings(tmp_path)
    phoneme_tokenizer(model / "tokenizer.model")
    save_file(made_up_codec(), tmp_path / "codec.safetensors")
    with pytest.raises(TrainingError, match="trained encoder"):
        run(monkeypatch, model, tmp_path / "codec.safetensors", frames, tmp_path / "wide")
    (model / "voice.json").write_text('{"has_voice_cloning": false}')
    (model / "flow_lm.tflite").touch()
    save_file(
        {k: made_up_codec()[k] for k in ("latents.mean", "latents.std")},
        tmp_path / "no.safetensors",
    )
    with pytest.raises(TrainingError, match="no mel codec"):
        run(monkeypatch, model, tmp_path / "no.safetensors", frames, tmp_path / "wide")
    run(monkeypatch, model, tmp_path / "codec.safetensors", frames, tmp_path / "wide")
    config = load_config(tmp_path / "wide" / "config.yaml")
    tensors = load_checkpoint(tmp_path / "wide" / "model.safetensors", parameter_shapes(config))
    assert not np.allclose(tensors["flow_lm.emb_std"], 1)
    assert not (tmp_path / "wide" / "flow_lm.tflite").exists()
    assert (load_file(tmp_path / "wide.safetensors")["latents.std"] == 1).all()
    with pytest.raises(SystemExit):
        run(monkeypatch, model, tmp_path / "codec.safetensors", frames, tmp_path / "wide")


def test_recordings_without_latents_are_refused(tmp_path, monkeypatch):
    frames = write_recordings(tmp_path)
    (frames / "part0.latents").unlink()
    with pytest.raises(FileNotFoundError, match=r"training\.mel_codec encode"):
        spread.spoken_and_real(CONFIG, {}, STATISTICS, frames, None, 3)  # pyright: ignore
