"""FlowLM's objective and the training loop, on synthetic data and a tiny model."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.model.attention import KVCache
from pocket_tts_jax.weights.expected import under
from tests.training.setup import synthetic_batch, tiny_config
from training.flow_lm import is_hidden
from training.judging.speak import speak_latents
from training.loop.adapters import UP, merge_adapters, new_adapters
from training.loop.initialise import ENCODER, VOICES, initial_tensors, initial_voices
from training.loop.log import TrainingLog
from training.loop.published import gather_tensors, start_voice
from training.loop.trainer import Optimisation, Schedule, Trainer, run
from training.losses.flow_lm import LMObjective, corrupt_history, lm_loss

pytestmark = pytest.mark.slow  # compiles training steps

CONFIG = tiny_config()
OBJECTIVE = LMObjective(align_layers=(0, 1))


def make_trainer(steps: int, devices: int = 1) -> Trainer:
    tensors = under(initial_tensors(CONFIG), "flow_lm.")
    fixed = {n: t for n, t in tensors.items() if n.endswith(("freqs", "std", "mean"))}
    free = {n: t for n, t in tensors.items() if n not in fixed}

    def loss(params, batch, key):
        return lm_loss(fixed | params, batch, key, CONFIG, OBJECTIVE)

    schedule = Schedule(steps, 3e-3, warmup=5, decay=5)
    optimisation = Optimisation(schedule, orthogonal=is_hidden, ema=0.9)
    return Trainer({"plain": loss}, free, optimisation, devices=devices)


def compiled_terms(params, batch, objective: LMObjective, key=0, voice: KVCache | None = None):
    """The terms of the loss. Called operation by operation it would be compiled so."""

    def terms(params, batch, voice):
        return lm_loss(params, batch, jax.random.key(key), CONFIG, objective, voice)[1]

    return jax.jit(terms)(params, batch, voice)


def next_batch(step: int):
    return "plain", synthetic_batch(step)


def test_loss_falls_and_every_term_is_finite(tmp_path):
    trainer = make_trainer(60)
    first = trainer.advance(synthetic_batch(0), "plain")
    assert first.distill is None and first.energy is None
    assert all(np.isfinite(np.asarray(term)) for term in jax.tree.leaves(first))
    run(trainer, next_batch, tmp_path / "run.safetensors", TrainingLog(tmp_path / "l.jsonl"), {})
    last = trainer.advance(synthetic_batch(60), "plain")
    assert float(last.map) < 0.9 * float(first.map)
    assert float(last.eos) < 0.7 * float(first.eos)
    assert float(last.align) < 0.7 * float(first.align)


def test_resumed_run_is_the_uninterrupted_run(tmp_path):
    whole, part = make_trainer(8), make_trainer(8)
    for step in range(4):
        whole.advance(synthetic_batch(step), "plain")
        part.advance(synthetic_batch(step), "plain")
    part.save(tmp_path / "run.safetensors", {"seed": 0})
    resumed = make_trainer(8)
    assert resumed.resume(tmp_path / "run.safetensors") == {"seed": 0}
    for step in range(4, 8):
        whole.advance(synthetic_batch(step), "plain")
        resumed.advance(synthetic_batch(step), "plain")
    for a, b in zip(jax.tree.leaves(whole.state), jax.tree.leaves(resumed.state), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_more_devices_than_there_are_are_refused():
    with pytest.raises(ValueError, match="--devices fewer"):
        make_trainer(1, devices=1 + len(jax.devices()))


TWO_DEVICES = """
import numpy as np
from training.loop.devices import split_host
split_host(2)
from tests.training.test_flow_lm import make_trainer, next_batch
terms = []
for devices in (1, 2):
    trainer = make_trainer(4, devices)
    terms.append([trainer.advance(next_batch(step)[1], "plain").flow for step in range(3)])
np.testing.assert_allclose(*terms, rtol=1e-3)
"""


def test_two_devices_train_as_one():
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    subprocess.run([sys.executable, "-c", TWO_DEVICES], check=True, env=environment)


def test_history_noise_spares_the_start_token():
    history = jnp.ones((4, 6, 32))
    noisy = corrupt_history(history, jax.random.key(0), OBJECTIVE)
    np.testing.assert_array_equal(noisy[:, 0], history[:, 0])
    assert float(jnp.abs(noisy[:, 1:] - 1).min()) > 0


def test_padding_does_not_change_the_loss_terms():
    """Rows are causal and weighted: longer buckets give the same EOS and alignment terms."""
    params = under(initial_tensors(CONFIG), "flow_lm.")
    quiet = LMObjective(history_noise=(0.0, 0.0), history_dropout=0.0, align_layers=(0, 1))
    batch = synthetic_batch(0)
    pad = {
        n: getattr(batch, n)
        for n in ("latents", "tokens", "word_start", "word_end", "token_start", "token_end")
    }
    pad = {n: np.pad(x, [(0, 0), (0, 3)] + [(0, 0)] * (x.ndim - 2)) for n, x in pad.items()}
    short = compiled_terms(params, batch, quiet)
    long = compiled_terms(params, batch._replace(**pad), quiet)
    for a, b in ((short.eos, long.eos), (short.align, long.align)):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5)


def test_voice_in_place_of_the_start_token_gives_the_same_loss():
    tensors = initial_tensors(CONFIG)
    voice = start_voice(CONFIG, tensors, {})
    params, plain = under(tensors, "flow_lm."), LMObjective(align=0.0)
    batch = synthetic_batch(0)
    token = compiled_terms(params, batch, plain, key=1)
    state = KVCache(jnp.asarray(voice.k), jnp.asarray(voice.v))
    cached = compiled_terms(params, batch, plain, key=1, voice=state)
    for a, b in zip(jax.tree.leaves(token), jax.tree.leaves(cached), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_each_speaker_is_led_by_a_vector_of_its_own():
    params = under(initial_tensors(CONFIG), "flow_lm.")
    token = params["bos_before_voice"]
    voices = initial_voices(token, ["abe", "zoe"])
    voices[VOICES + "zoe"] = token.ravel()
    batch, plain = synthetic_batch(0), LMObjective(align=0.0)
    said = {}
    for speaker in range(3):
        rows = np.full(len(batch.speaker), speaker, np.int32)
        said[speaker] = compiled_terms(params | voices, batch._replace(speaker=rows), plain)
    np.testing.assert_allclose(said[2].map, said[0].map, rtol=1e-5)  # zoe's is the start token
    assert abs(float(said[1].map - said[0].map)) > 1e-4


def test_a_voice_learns_from_its_own_rows_alone():
    params = under(initial_tensors(CONFIG), "flow_lm.")
    params = params | initial_voices(params["bos_before_voice"], ["abe", "zoe"])
    batch = synthetic_batch(0)
    batch = batch._replace(speaker=np.arange(len(batch.speaker), dtype=np.int32) % 2)

    def loss(params):
        return lm_loss(params, batch, jax.random.key(0), CONFIG, LMObjective(align=0.0))[0]

    slopes = jax.jit(jax.grad(loss))({n: jnp.asarray(t) for n, t in params.items()})
    assert np.abs(slopes[VOICES + "abe"]).max() > 0
    assert not np.asarray(slopes[VOICES + "zoe"]).any()


def test_adapters_start_as_the_base_and_are_all_that_moves():
    base = under(initial_tensors(CONFIG), "flow_lm.")
    adapters = new_adapters(base, rank=2)
    for name, tensor in merge_adapters(base, adapters).items():
        np.testing.assert_array_equal(tensor, base[name])

    def loss(trainable, batch, key):
        merged = merge_adapters(base, trainable)
        return lm_loss(merged, batch, key, CONFIG, LMObjective(align=0.0))

    trainer = Trainer({"tune": loss}, adapters, Optimisation(Schedule(3, 1e-2, warmup=1, decay=1)))
    trainer.advance(synthetic_batch(0), "tune")
    moved = {n: np.asarray(t) for n, t in trainer.state.tensors.items()}
    assert moved.keys() == adapters.keys()
    assert all(np.abs(moved[n]).max() > 0 for n in moved if n.endswith(UP))
    merged = merge_adapters(base, moved)
    changed = {n for n in base if not np.array_equal(merged[n], base[n])}
    assert changed == {n.removesuffix(UP) for n in adapters if n.endswith(UP)}


def test_speaking_is_random_and_reproducible():
    def said(seed: int) -> np.ndarray:
        texts, threshold = [[3, 4, 5]], 1e9  # never ends by itself
        tensors = initial_tensors(CONFIG)
        (spoken,) = speak_latents(
            CONFIG, tensors, texts, 0.5, eos_threshold=threshold, max_frames=8, seed=seed
        )
        return spoken.latents

    np.testing.assert_array_equal(said(0), said(0))
    assert np.abs(said(0) - said(1)).max() > 0.01


def test_batched_rows_are_spoken_as_if_alone():
    tensors = initial_tensors(CONFIG)
    texts = [[3, 4, 5], [6, 7, 8, 9, 10]]
    both = speak_latents(CONFIG, tensors, texts, max_frames=12)
    alone = speak_latents(CONFIG, tensors, texts[:1], max_frames=12)
    count = min(len(both[0].latents), len(alone[0].latents))
    np.testing.assert_allclose(
        both[0].latents[:count], alone[0].latents[:count], rtol=1e-3, atol=1e-4
    )


def test_gathering_refuses_tensors_that_are_missing_or_of_another_size():
    tensors, zeros = initial_tensors(CONFIG), np.zeros(32, np.float32)
    mimi = {n: t for n, t in under(tensors, "mimi.").items() if not n.startswith(ENCODER)}
    trained = under(tensors, "flow_lm.")
    optional = [n for n in trained if n.endswith(".freqs")] + ["speaker_proj_weight"]
    trained = {n: t for n, t in trained.items() if n not in optional}
    assert gather_tensors(CONFIG, trained, mimi, zeros, zeros).keys() == tensors.keys()
    misshapen = trained | {"out_eos.weight": np.zeros((1, 5))}
    for flow_lm, codec, named in (
        (misshapen, mimi, "out_eos.weight"),
        ({n: t for n, t in trained.items() if n != "bos_emb"}, mimi, "1 missing: flow_lm.bos_emb"),
        (trained, {}, "mimi.decoder.model"),
    ):
        with pytest.raises(CheckpointError, match=named):
            gather_tensors(CONFIG, flow_lm, codec, zeros, zeros)
