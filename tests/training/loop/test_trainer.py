"""Runs: saved, resumed, stopped by signals, and what they say, with a model of three numbers."""

import os
import signal
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from safetensors.numpy import save_file

from pocket_tts_jax.errors import CheckpointError
from training.errors import Interrupted
from training.loop.checkpoint import read_ema, read_statistics
from training.loop.log import TrainingLog
from training.loop.trainer import Optimisation, Schedule, Trainer, run
from training.plot import read_log


class Terms(NamedTuple):
    error: Array


def make_trainer(steps: int) -> Trainer:
    def loss(params, batch, key):
        error = jnp.square(params["w"] - batch).mean()
        return error, Terms(error)

    optimisation = Optimisation(Schedule(steps, 0.1, warmup=1))
    return Trainer({"plain": loss}, {"w": np.zeros(3, np.float32)}, optimisation)


def next_batch(step: int):
    return "plain", np.full((1, 3), 1 + step, np.float32)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    trainer = make_trainer(2)
    trainer.save(tmp_path / "run.safetensors", {})
    trainer.state = trainer.state._replace(tensors={"other": jnp.zeros(3)})
    with pytest.raises(CheckpointError, match="belongs to another model"):
        trainer.resume(tmp_path / "run.safetensors")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": np.zeros(3, np.float32)}, path)
    with pytest.raises(CheckpointError, match="not written by a training run"):
        make_trainer(2).resume(path)
    with pytest.raises(CheckpointError, match="no training checkpoint"):
        read_ema(path)
    with pytest.raises(CheckpointError, match="lacks latents.mean, latents.std"):
        read_statistics(path)
    path.write_text("not tensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_ema(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_after_the_step_with_everything_saved(tmp_path, number, capsys):
    def interrupted(step: int):
        if step == 2:
            os.kill(os.getpid(), number)
        return next_batch(step)

    before, trainer = signal.getsignal(number), make_trainer(8)
    log = TrainingLog(tmp_path / "log", every=2)
    with pytest.raises(Interrupted) as ended:
        run(trainer, interrupted, tmp_path / "run", log, {})
    assert ended.value.signal == number
    assert signal.getsignal(number) == before
    assert "saved at 3 of 8" in capsys.readouterr().out
    resumed = make_trainer(8)
    resumed.resume(tmp_path / "run")
    assert trainer.step == resumed.step == 3
    assert [row["step"] for row in read_log(tmp_path / "log")] == [2, 3]


def test_a_second_ctrl_c_interrupts_at_once(tmp_path):
    def interrupted(step: int):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    with pytest.raises(KeyboardInterrupt):
        run(make_trainer(8), interrupted, tmp_path / "run", TrainingLog(tmp_path / "log"), {})


def test_a_run_beyond_its_steps_says_so_and_leaves_the_file(tmp_path, capsys):
    trainer, path, log = make_trainer(2), tmp_path / "run", TrainingLog(tmp_path / "log")
    run(trainer, next_batch, path, log, {})
    before = path.read_bytes()
    again = make_trainer(1)
    again.resume(path)
    run(again, next_batch, path, log, {"other": 1})
    said = capsys.readouterr().out
    assert "saved at 2 of 2" in said and "is at step 2 already" in said
    assert path.read_bytes() == before


def test_a_diverged_run_leaves_its_checkpoint(tmp_path):
    path, log = tmp_path / "run", TrainingLog(tmp_path / "log", every=50)
    trainer = make_trainer(3)
    trainer.save(path, {})
    before = path.read_bytes()

    def broken(step: int):
        return "plain", np.full((1, 3), np.nan, np.float32)

    with pytest.raises(FloatingPointError, match="not finite at step 1. Resume"):
        run(trainer, broken, path, log, {}, save_seconds=0.0)
    with pytest.raises(FloatingPointError, match="left as it was"):
        trainer.save(path, {})
    assert path.read_bytes() == before
