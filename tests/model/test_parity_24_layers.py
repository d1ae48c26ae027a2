"""Our model against the PyTorch reference, on random checkpoints with 24 layers."""

import pytest

pytest.importorskip("pocket_tts", reason="the reference is not installed")
pytestmark = [pytest.mark.reference, pytest.mark.slow]

from tests.parity import assert_parity, with_layers  # noqa: E402


@pytest.mark.parametrize("name", with_layers(24))
def test_parity(name: str):
    assert_parity(name)
