"""Opinion scores: what DNSMOS is given is what its grid does not favour."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from training.judging.naturalness import SILENCES, SPAN, naturalness


def test_each_clip_is_scored_with_odd_silence_around_it(monkeypatch):
    """The distance of one copy to the next is what must not be on the grid."""
    periods = []

    def run(wave: np.ndarray, rate: int) -> dict[str, float]:
        assert rate == 16_000 and len(wave) == SPAN and np.abs(wave).max() <= 1
        starts = np.flatnonzero(np.diff((wave > 0).astype(int)) > 0)
        periods.append(int(starts[1] - starts[0]))
        return {"p808_mos": len(periods) % 3, "ovrl_mos": 2.0}

    monkeypatch.setitem(sys.modules, "speechmos", SimpleNamespace(dnsmos=SimpleNamespace(run=run)))
    scores = naturalness([np.full(1920 * n, 2, np.float32) for n in (5, 9)])
    assert len(periods) == 2 * len(SILENCES)
    assert len({period % 160 for period in periods}) == len(SILENCES)  # 10 ms: the metric's hop
    assert all(period % 160 for period in periods)
    np.testing.assert_allclose(scores.p808, [1, 1])
    np.testing.assert_allclose(scores.overall, [2, 2])


@pytest.mark.slow
def test_a_clip_on_the_grid_scores_as_one_beside_it():
    pytest.importorskip("speechmos")
    import soundfile

    from tests.folders import SHARED

    path = SHARED / "data" / "reference_medium_int16.wav"
    if not path.exists():
        pytest.skip("needs a recording that is not part of the repository")
    audio, rate = soundfile.read(path, dtype="float32")
    on_grid = audio[: len(audio) // 1920 * 1920]
    beside = on_grid[: len(on_grid) - 37]
    first, second = naturalness([on_grid, beside], rate).p808
    assert abs(first - second) < 0.1
