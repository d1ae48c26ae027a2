"""How far figures could be off by the choice of sentences: bootstrap intervals (Efron 1979).

Sentences are drawn anew with replacement, a few thousand times. Where two models spoke the same
sentences, the same draw counts for both (paired): what is hard about a sentence cancels out.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

DRAWS = 10_000
LEVEL = 0.95


class Interval(NamedTuple):
    """A figure with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def ratio(amounts: Float[np.ndarray, " n"], sizes: Float[np.ndarray, " n"]) -> Interval:
    """Σ amounts / Σ sizes over sentences, as wrong words of all words are. A mean over sentences
    is the ratio to ones."""
    return _interval(amounts, sizes, np.zeros_like(amounts), seed=0)


def difference(
    amounts: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"], sizes: Float[np.ndarray, " n"]
) -> Interval:
    """The ratio of `amounts` minus that of `other`, both to the same `sizes`, paired."""
    return _interval(amounts, sizes, other, seed=0)


def _interval(amounts: np.ndarray, sizes: np.ndarray, other: np.ndarray, seed: int) -> Interval:
    """One list of numbers per sentence suffices, because draws are the same for both models."""
    excess = np.asarray(amounts, float) - np.asarray(other, float)
    sizes = np.asarray(sizes, float)
    draws = np.random.default_rng(seed).integers(0, len(excess), (DRAWS, len(excess)))
    ratios = excess[draws].sum(1) / sizes[draws].sum(1)
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(excess.sum() / sizes.sum()), float(low), float(high))
