"""FlowLM's objective and the training loop, on synthetic data and a tiny model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pocket_tts_jax.attention import KVCache
from pocket_tts_jax.errors import CheckpointError
from tests.training_setup import synthetic_batch, tiny_config
from training.adapters import UP, merge_adapters, new_adapters
from training.export import gather_tensors, start_voice
from training.flow_lm import is_hidden
from training.initialise import initial_tensors, select
from training.lm_loss import LMObjective, corrupt_history, lm_loss
from training.log import TrainingLog
from training.speak import speak_latents
from training.trainer import Optimisation, Schedule, Trainer, run

CONFIG = tiny_config()
OBJECTIVE = LMObjective(align_layers=(0, 1))


def make_trainer(steps: int, devices: int = 1) -> Trainer:
    tensors = select(initial_tensors(CONFIG), "flow_lm.")
    fixed = {n: t for n, t in tensors.items() if n.endswith(("freqs", "std", "mean"))}
    free = {n: t for n, t in tensors.items() if n not in fixed}

    def loss(params, batch, key):
        return lm_loss(fixed | params, batch, key, CONFIG, OBJECTIVE)

    schedule = Schedule(steps, 3e-3, warmup=5, decay=5)
    optimisation = Optimisation(schedule, orthogonal=is_hidden, ema=0.9)
    return Trainer({"plain": loss}, free, optimisation, devices=devices)


def next_batch(step: int):
    return "plain", synthetic_batch(step)


def test_loss_falls_and_every_term_is_finite(tmp_path):
    trainer = make_trainer(60)
    first = trainer.advance(synthetic_batch(0), "plain")
    assert all(np.isfinite(np.asarray(term)) for term in first)
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


def test_checkpoint_of_another_model_is_refused(tmp_path):
    trainer = make_trainer(2)
    trainer.save(tmp_path / "run.safetensors", {})
    trainer.state = trainer.state._replace(tensors={"other": jnp.zeros(3)})
    with pytest.raises(CheckpointError, match="belongs to another model"):
        trainer.resume(tmp_path / "run.safetensors")


def test_history_noise_spares_the_start_token():
    history = jnp.ones((4, 6, 32))
    noisy = corrupt_history(history, jax.random.key(0), OBJECTIVE)
    np.testing.assert_array_equal(noisy[:, 0], history[:, 0])
    assert float(jnp.abs(noisy[:, 1:] - 1).min()) > 0


def test_padding_does_not_change_the_loss_terms():
    """Rows are causal and weighted: longer buckets give the same EOS and alignment terms."""
    params = select(initial_tensors(CONFIG), "flow_lm.")
    quiet = LMObjective(history_noise=(0.0, 0.0), history_dropout=0.0, align_layers=(0, 1))
    batch = synthetic_batch(0)
    pad = {
        n: getattr(batch, n)
        for n in ("latents", "tokens", "word_start", "word_end", "token_start", "token_end")
    }
    pad = {n: np.pad(x, [(0, 0), (0, 3)] + [(0, 0)] * (x.ndim - 2)) for n, x in pad.items()}
    _, short = lm_loss(params, batch, jax.random.key(0), CONFIG, quiet)
    _, long = lm_loss(params, batch._replace(**pad), jax.random.key(0), CONFIG, quiet)
    np.testing.assert_allclose(short.eos, long.eos, rtol=1e-5)
    np.testing.assert_allclose(short.align, long.align, rtol=1e-5)


def test_voice_in_place_of_the_start_token_gives_the_same_loss():
    tensors = initial_tensors(CONFIG)
    voice = start_voice(CONFIG, tensors, {})
    params, plain = select(tensors, "flow_lm."), LMObjective(align=0.0)
    batch, key = synthetic_batch(0), jax.random.key(1)
    _, token = lm_loss(params, batch, key, CONFIG, plain)
    state = KVCache(jnp.asarray(voice.k), jnp.asarray(voice.v))
    _, cached = lm_loss(params, batch, key, CONFIG, plain, state)
    for a, b in zip(token, cached, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_distillation_term_is_finite_and_used():
    params = select(initial_tensors(CONFIG), "flow_lm.")
    objective = LMObjective(distill=0.25, align=0.0)
    loss = jax.grad(
        lambda p: lm_loss(p, synthetic_batch(0), jax.random.key(0), CONFIG, objective)[0]
    )
    gradient = loss({n: jnp.asarray(t) for n, t in params.items()})
    assert float(jnp.abs(gradient["flow_net.time_embed.0.mlp.0.weight"]).max()) > 0


def test_adapters_start_as_the_base_and_are_all_that_moves():
    base = select(initial_tensors(CONFIG), "flow_lm.")
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


def test_speaking_is_reproducible_and_batched_rows_are_independent():
    tensors = initial_tensors(CONFIG)
    texts = [[3, 4, 5], [6, 7, 8, 9, 10]]
    both = speak_latents(CONFIG, tensors, texts, max_frames=12)
    alone = speak_latents(CONFIG, tensors, texts[:1], max_frames=12)
    count = min(len(both[0].latents), len(alone[0].latents))
    np.testing.assert_allclose(
        both[0].latents[:count], alone[0].latents[:count], rtol=1e-3, atol=1e-4
    )


def test_gathering_refuses_tensors_of_another_size():
    zeros = np.zeros(32, np.float32)
    with pytest.raises(CheckpointError, match="out_eos.weight"):
        gather_tensors(CONFIG, {"out_eos.weight": np.zeros((1, 5))}, {}, zeros, zeros)
