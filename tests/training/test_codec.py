"""The mel codec, the waveform decoder's losses and their data, on made-up sound."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.weights.expected import under
from tests.training.setup import tiny_config
from training.batches.crops import Batch, Crops
from training.batches.encoder import Encoder
from training.batches.mel_codec import encode_mels
from training.data.spectra import FRAME, log_mel, magnitudes, mel_filters
from training.data.streams import LATENT_DIM, claim_latents, open_streams
from training.encode import encode_stream as encode_stream_by_mimi
from training.encode import latent_statistics
from training.loop.checkpoint import started
from training.loop.initialise import DECODER, DISCRIMINATOR, ENCODER, initial_tensors
from training.loop.trainer import Optimisation, Schedule, Trainer
from training.losses.codec import codec_loss, discriminator_tensors, part_loss, spectral_terms
from training.mel_codec import encode_stream, train_mel_codec, training_mels

pytestmark = pytest.mark.slow  # compiles training steps

CONFIG = tiny_config()


def sweep(frames: int) -> np.ndarray:
    time = np.arange(frames * FRAME) / 24_000
    return (0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time)).astype(np.float32)


@pytest.fixture
def frames_folder(tmp_path):
    (np.clip(sweep(24), -1, 1) * 32767).astype(np.int16).tofile(tmp_path / "part0.pcm")
    row = '{"text": "Ah.", "source": "test", "held_out": false, "ends": [1.0], '
    (tmp_path / "part0.jsonl").write_text(
        row
        + '"first": 0, "frames": 10, "speech": 8}\n'
        + row
        + '"first": 10, "frames": 14, "speech": 12}\n'
    )
    return tmp_path


def test_magnitudes_agree_with_numpy():
    audio = sweep(2)
    ours = np.asarray(magnitudes(jnp.asarray(audio[None]), 512, 128))[0]
    padded = np.pad(audio, (256, 256))
    window = np.hanning(513)[:-1]
    window = window * 2 / window.sum()
    for row in (0, 5, 17):
        expected = np.abs(np.fft.rfft(padded[row * 128 : row * 128 + 512] * window))
        np.testing.assert_allclose(ours[row], expected, atol=1e-4)


def test_mel_filters_average_and_cover_the_spectrum():
    filters = mel_filters(80, 1024)
    np.testing.assert_allclose(filters.sum(0), 1, rtol=1e-5)
    assert (filters.sum(1)[1:-1] > 0).all()


def test_log_mel_peaks_where_the_tone_is():
    time = np.arange(4 * FRAME) / 24_000
    mel = log_mel((0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32))
    assert mel.shape == (32, 80)
    centre = mel_filters(80, 1024)[round(1000 / 24_000 * 1024)].argmax()
    assert abs(int(mel[16].argmax()) - int(centre)) <= 1


def test_mel_codec_learns_and_encodes_a_stream_in_pieces(frames_folder):
    codec = train_mel_codec(log_mel(sweep(60)), frames_folder / "run", steps=30, batch=4)
    (stream,) = open_streams(frames_folder)
    assert encode_stream(codec, stream) == 24
    (again,) = open_streams(frames_folder)
    assert again.latents.shape == (24, LATENT_DIM)
    assert encode_stream(codec, again) == 0
    mels = log_mel(stream.audio(0, 24))
    np.testing.assert_allclose(again.latents, encode_mels(codec, mels, block=7), atol=1e-4)


def test_mel_codec_goes_on_behind_the_last_whole_utterance(frames_folder):
    codec = train_mel_codec(log_mel(sweep(30)), frames_folder / "run", steps=2, batch=2)
    (stream,) = open_streams(frames_folder)
    assert encode_stream(codec, stream, chunk=12) == 24
    wanted = np.array(open_streams(frames_folder)[0].latents)
    with open(stream.latents_path, "r+b") as file:  # as a kill in the middle leaves it
        file.truncate(15 * LATENT_DIM * 4 + 7)
    (stream,) = open_streams(frames_folder)
    assert encode_stream(codec, stream, chunk=12) == 14
    np.testing.assert_array_equal(open_streams(frames_folder)[0].latents, wanted)


def test_nothing_that_is_held_out_reaches_the_codec_or_its_statistics(frames_folder):
    index = frames_folder / "part0.jsonl"
    first, second = index.read_text().splitlines()
    index.write_text(first.replace("false", "true") + "\n" + second + "\n")
    np.repeat(np.arange(24, dtype=np.float32), LATENT_DIM).tofile(frames_folder / "part0.latents")
    streams = open_streams(frames_folder)
    (mels,) = training_mels(streams, hours=1)
    np.testing.assert_array_equal(mels, log_mel(streams[0].audio(10, 14)))
    np.testing.assert_allclose(latent_statistics(streams)["latents.mean"], np.arange(10, 24).mean())


def test_mel_codec_takes_the_last_stretch_and_refuses_less(tmp_path):
    length, path = 2, tmp_path / "run"
    train_mel_codec(log_mel(sweep(length + 2)), path, steps=1, batch=1, length=length)
    with pytest.raises(ValueError, match="too few to train on: it takes at least 4"):
        train_mel_codec(log_mel(sweep(length + 1)), path, steps=1, batch=1, length=length)


def test_latents_belong_to_one_codec(frames_folder):
    ours, other = ({"w": np.full(3, value, np.float32)} for value in (1, 2))
    assert claim_latents(frames_folder, other)
    assert claim_latents(frames_folder, ours)  # there are no latents yet
    np.zeros(LATENT_DIM, np.float32).tofile(frames_folder / "part0.latents")
    assert not claim_latents(frames_folder, ours)
    with pytest.raises(CheckpointError, match=r"Delete .*\*\.latents"):
        claim_latents(frames_folder, other)
    (frames_folder / "latents.codec").unlink()
    with pytest.raises(CheckpointError, match="unknown"):
        claim_latents(frames_folder, ours)


def test_another_run_must_have_every_tensor_but_the_discriminator(tmp_path):
    judge = DISCRIMINATOR + "w"
    tensors = {"decoder.w": np.zeros(3), judge: np.zeros(2)}
    begun = started(tensors, {"decoder.w": np.ones(3)}, tmp_path, DISCRIMINATOR)
    assert begun["decoder.w"].all() and not begun[judge].any()
    whole = {"decoder.w": np.ones(3), judge: np.ones(2)}
    assert started(tensors, whole, tmp_path, DISCRIMINATOR)[judge].all()
    for start in ({}, {"decoder.w": np.ones(4)}):
        with pytest.raises(CheckpointError, match="decoder.w"):
            started(tensors, start, tmp_path, DISCRIMINATOR)


def test_crops_are_reproducible_and_match_the_sound(frames_folder):
    (frames_folder / "part0.latents").write_bytes(
        np.repeat(np.arange(24, dtype=np.float32), LATENT_DIM).tobytes()
    )
    crops = Crops(frames_folder, frames=4)
    latents, audio = crops.batch(0, 3, 2)
    np.testing.assert_array_equal(latents, crops.batch(0, 3, 2).latents)
    first = int(latents[0, 0, 0])
    expected = sweep(24)[first * FRAME : (first + 4) * FRAME]
    np.testing.assert_allclose(audio[0], expected, atol=1e-4)


def test_spectral_terms_are_zero_for_equal_sound_and_grow_with_the_difference():
    audio = jnp.asarray(sweep(3)[None])
    for term in spectral_terms(audio, audio):
        assert float(term) == 0
    near, far = spectral_terms(0.9 * audio, audio), spectral_terms(0.1 * audio, audio)
    assert all(float(a) < float(b) for a, b in zip(near, far, strict=True))


def sweep_batch() -> Batch:
    latents = np.random.default_rng(0).standard_normal((2, 4, 32)).astype(np.float32)
    return Batch(latents, np.stack([sweep(4)] * 2))


def trained(part: str, prefixes: tuple[str, ...]) -> tuple[Trainer, Any, Any]:
    tensors = under(initial_tensors(CONFIG), "mimi.")
    tensors = {n: t for n, t in tensors.items() if n.startswith(prefixes)}
    losses = {"codec": part_loss(part, CONFIG.mimi, noise=0.1)}
    optimisation = Optimisation(Schedule(30, 3e-3, warmup=2, decay=5), weight_decay=0.0, ema=0.5)
    trainer = Trainer(losses, tensors, optimisation)
    terms = [trainer.advance(sweep_batch(), "codec") for _ in range(30)]
    moved = [n for n, t in trainer.state.tensors.items() if not np.array_equal(t, tensors[n])]
    assert len(moved) == len(tensors)
    return trainer, terms[0], terms[-1]


def test_encoder_learns_frozen_latents_and_makes_them(frames_folder):
    trainer, first, last = trained("encoder", ENCODER)
    assert float(last.error) < 0.9 * float(first.error)
    encode = Encoder(CONFIG, {n: np.asarray(t) for n, t in trainer.state.ema.items()})
    (stream,) = open_streams(frames_folder)
    assert encode_stream_by_mimi(encode, stream) == 24
    with open(stream.latents_path, "r+b") as file:  # as a kill in the middle leaves it
        file.truncate(15 * LATENT_DIM * 4 + 7)
    (stream,) = open_streams(frames_folder)
    assert encode_stream_by_mimi(encode, stream) == 14
    (stream,) = open_streams(frames_folder)
    assert encode_stream_by_mimi(encode, stream) == 0
    second = stream.utterances[1]
    alone = encode(stream.audio(second.first, second.frames))
    np.testing.assert_allclose(stream.latents[10:24], alone, atol=1e-5)


def test_both_sides_train_together_without_latents(frames_folder):
    _, first, last = trained("both", ENCODER + DECODER)
    assert float(last.mel) < 0.8 * float(first.mel)
    latents, audio = Crops(frames_folder, frames=4, with_latents=False).batch(0, 0, 2)
    assert not latents.any() and audio.shape == (2, 4 * FRAME)


def test_decoder_and_discriminator_train_together():
    tensors = under(initial_tensors(CONFIG), "mimi.")
    tensors = {n: t for n, t in tensors.items() if n.startswith(DECODER)}
    tensors |= discriminator_tensors(0)
    batch = sweep_batch()
    schedule = Schedule(25, 3e-3, warmup=2, decay=5)
    losses = {"codec": part_loss("decoder", CONFIG.mimi, noise=0.1)}
    trainer = Trainer(losses, tensors, Optimisation(schedule, weight_decay=0.0))
    first = trainer.advance(batch, "codec")
    for _ in range(24):
        last = trainer.advance(batch, "codec")
    assert float(last.mel) < 0.7 * float(first.mel)
    assert float(last.discriminator) < float(first.discriminator)
    moved = {
        n for n, t in trainer.state.tensors.items() if not np.array_equal(np.asarray(t), tensors[n])
    }
    assert {n.startswith(DISCRIMINATOR) for n in moved} == {True, False}


def test_first_frame_of_the_decoder_is_judged():
    tensors = under(initial_tensors(CONFIG), "mimi.")
    params = {n: jnp.asarray(t) for n, t in tensors.items() if n.startswith(DECODER)}
    latents = jax.random.normal(jax.random.key(0), (1, 3, 32))
    audio = jnp.asarray(sweep(3)[None])
    changed = audio.at[:, :FRAME].set(0.5)
    a, b = (codec_loss(params, latents, x, CONFIG.mimi)[0] for x in (audio, changed))
    assert abs(float(a) - float(b)) > 0.1 * float(a)


def test_first_frame_of_the_encoder_is_judged():
    """Two rows with their first latents swapped have the same spread, but say something else."""
    tensors = under(initial_tensors(CONFIG), "mimi.")
    params = {n: jnp.asarray(t) for n, t in tensors.items() if n.startswith(ENCODER)}
    latents, audio = sweep_batch()
    audio[1] *= -0.5
    swapped = latents.copy()
    swapped[:, 0] = latents[::-1, 0]
    loss = part_loss("encoder", CONFIG.mimi, noise=0.0)
    key = jax.random.key(0)
    a, b = (float(loss(params, Batch(x, audio), key)[0]) for x in (latents, swapped))
    assert abs(a - b) > 1e-4 * a
