"""Parity with the reference without torch: `golden/parity.npz` holds what it computed."""

import numpy as np
import pytest

from pocket_tts_jax.config import load_config, packaged_config
from pocket_tts_jax.testing.random_checkpoint import random_tensors
from tests.folders import GOLDEN
from tests.parity import STEPS, distance, eos_frame, prompt
from tests.subject import Subject

pytestmark = pytest.mark.usefixtures("strict")

STORED = GOLDEN / "parity.npz"
SEED, AUDIO_STRIDE = 7, 13
SMALL = ("english_2m_2026-10",)
LARGE = (
    "english_7m_2026-10",
    "english_18m_2026-10",
    "english_2026-01",
    "english_2026-10",
    "english_drifting_26-09",
)


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(STORED) as file:
        return {key.split("/")[1]: file[key] for key in file.files if key.startswith(name + "/")}


@pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)]
)
def test_parity(name: str):
    expected = golden(name)
    config = load_config(packaged_config(name))
    tensors = random_tensors(config, SEED)
    drawn_now = np.concatenate([tensors[n].reshape(-1)[:4] for n in sorted(tensors)[::20]])
    np.testing.assert_array_equal(
        drawn_now,
        expected["fingerprint"],
        "the random weights are others than when the file was made: run tests.golden.make_parity",
    )
    tensors["flow_lm.out_eos.bias"] += expected["eos_shift"]
    steps = len(expected["latents"])
    audio, tokens, drawn = prompt(config, SEED, steps)
    subject = Subject(config, tensors)

    assert distance(expected["encoded"], subject.encode(audio)) < 1e-4
    state = subject.prefix(audio, tokens, rows=2, room=STEPS)
    latents, logits = subject.run(state, expected["latents"], drawn)
    assert distance(expected["latents"], latents[0]) < 1e-4
    assert distance(expected["latents"], latents[1]) < 1e-3
    assert distance(expected["eos_logits"], logits[0]) < 1e-3
    assert eos_frame(logits[1], config) == expected["eos_frame"]
    spoken = subject.decode(latents[1])[::AUDIO_STRIDE]
    assert distance(expected["audio"], spoken) < 1e-3
    assert np.corrcoef(expected["audio"], spoken)[0, 1] > 0.99999


def test_golden_files_are_small():
    files = list(STORED.parent.glob("*.npz"))
    assert files and sum(file.stat().st_size for file in files) < 1_000_000
