"""Our model against the PyTorch reference, on random checkpoints: the small architectures, and what
the comparison sees. `test_parity_6_layers` and `test_parity_24_layers` have the others, so that
several processes share the work.

`python -m tests.parity` prints the same numbers as a table.
"""

from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.config import available_configs, load_config, packaged_config
from pocket_tts_jax.testing.random_checkpoint import end_at, random_tensors

pytest.importorskip("pocket_tts", reason="the reference is not installed")
pytestmark = pytest.mark.reference

from tests.parity import (  # noqa: E402
    RECORDING,
    STEPS,
    assert_parity,
    compare,
    distance,
    prompt,
    with_layers,
)
from tests.reference import Reference  # noqa: E402
from tests.subject import Subject  # noqa: E402

SMALL = "english_2m_2026-10"


@pytest.fixture(scope="module")
def recording() -> Path:
    if not RECORDING.exists():
        pytest.skip("needs a recording: ../shared/data/reference_medium_int16.wav")
    return RECORDING


def test_all_configurations_are_compared():
    assert sorted(with_layers(6) + with_layers(8) + with_layers(24)) == sorted(available_configs())


@pytest.mark.parametrize("name", with_layers(8))
def test_parity(name: str):
    assert_parity(name)


def test_voice_of_a_recording(recording: Path):
    result = compare(SMALL, steps=10, recording=recording)
    assert result.voice is not None and not result.failures(), result


@pytest.mark.parametrize(
    "tensor",
    [
        "flow_lm.transformer.layers.3.norm1.weight",
        "flow_lm.transformer.layers.7.linear1.weight",
        "flow_lm.flow_net.res_blocks.2.adaLN_modulation.1.weight",
        "flow_lm.flow_net.cond_embed.bias",
    ],
)
def test_a_difference_of_one_percent_shows(tensor: str):
    """The comparison would see a mistake as small as this in a single tensor."""
    config = load_config(packaged_config(SMALL))
    tensors = random_tensors(config, 1)
    audio, tokens, drawn = prompt(config, 1, 10)
    expected = Reference(SMALL, tensors).run(audio, tokens, drawn).latents[0]
    subject = Subject(config, tensors | {tensor: tensors[tensor] * np.float32(1.01)})
    latents, _ = subject.run(subject.prefix(audio, tokens, 2, STEPS), expected, drawn)
    assert distance(expected, latents[0]) > 1e-4


def test_end_at():
    logits = np.array([9, 9, 9, 9, 9, 9, 0, 0.5, 2, 1, 3, 2.5], np.float32)
    shift, frame = end_at(logits, threshold=-4.0, first=7, last=11)
    assert frame == 10 and shift == -4.0 - 2.5
    assert end_at(logits, -4.0, 7, 9)[1] == 8
    with pytest.raises(ValueError, match="no new maximum"):
        end_at(logits, threshold=-4.0, first=11, last=11)
