"""Several devices share the rows of a batch: here the processor, divided into four."""

import os
import subprocess
import sys

import pytest

from tests.folders import ROOT

# Fewer texts than devices, as many, and more: rows are padded to a multiple of the devices.
PROGRAM = """
import jax
import numpy as np

from pocket_tts_jax.jax_engine.engine import JaxEngine
from pocket_tts_jax.testing.random_checkpoint import random_tensors
from pocket_tts_jax.testing.tiny_model import tiny_config, tiny_voice
from pocket_tts_jax.generation.engine import Job
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.text.prepare import Prompt

devices = jax.devices("cpu")
assert len(devices) == 4
config = tiny_config("lsd")
tensors = random_tensors(config)
one = JaxEngine(config, tensors)
four = JaxEngine(config, tensors, devices=devices)
assert four.device == "cpu"
weight = four.network.flow_lm_params["bos_emb"]
assert weight.sharding.device_set == set(devices)
assert four.flow_lm_params["bos_emb"].devices() == {devices[0]}
voice = tiny_voice(config, length=5)


def job(number):
    sampling = Sampling(seed=number, temperature=0.5, eos_threshold=1e9)
    prompt = Prompt("text", tuple(range(1, 3 + number)), 1, 6 + number)
    return Job(0, prompt, voice, sampling)


for count in (1, 4, 6):
    jobs = [job(number) for number in range(count)]
    for alone, shared in zip(one.speak(jobs), four.speak(jobs), strict=True):
        assert alone.size == shared.size > 0 and np.abs(alone).max() > 1e-3
        np.testing.assert_allclose(shared, alone, atol=2e-5)
session = four.start(voice, jobs[0].prompt, 1)
alone = one.start(voice, jobs[0].prompt, 1)
noise = np.ones(config.latent_dim, np.float32)
np.testing.assert_allclose(session.step(noise).latent, alone.step(noise).latent, atol=1e-5)
print("equal")
"""


@pytest.mark.slow
def test_devices_share_a_batch() -> None:
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "equal\n", done.stderr[-2000:]
