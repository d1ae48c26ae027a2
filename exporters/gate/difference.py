"""The difference between expected and found numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass
class Difference:
    """The difference of one output, over all calls."""

    largest: float = 0.0  # largest absolute difference
    scale: float = 0.0  # largest absolute value of the reference
    signal: float = 0.0  # sums of squares
    noise: float = 0.0
    finite: bool = True

    @classmethod
    def of(cls, reference: np.ndarray, found: np.ndarray) -> "Difference":
        difference = cls()
        difference.add(reference, found)
        return difference

    def add(self, reference: np.ndarray, found: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):  # the difference of two infinities
            error = found.astype(np.float64) - reference
        self.finite &= bool(np.isfinite(error).all())
        self.largest = max(self.largest, float(np.abs(error).max(initial=0)))
        self.scale = max(self.scale, float(np.abs(reference).max(initial=0)))
        self.signal += float(np.square(reference, dtype=np.float64).sum())
        self.noise += float(np.square(error).sum())

    @property
    def relative(self) -> float:
        """Largest difference over the largest value; infinite if a number was not finite."""
        return self.largest / max(self.scale, 1e-30) if self.finite else np.inf

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio over all calls in dB; −∞ if a number was not finite."""
        if not self.finite:
            return -np.inf
        return 10 * float(np.log10(max(self.signal, 1e-30) / max(self.noise, 1e-30)))


def median(differences: Sequence[Difference]) -> Difference:
    """The one in the middle; one that is not finite where there is any."""
    ordered = sorted(differences, key=lambda difference: difference.relative)
    return ordered[len(ordered) // 2] if ordered[-1].finite else ordered[-1]
