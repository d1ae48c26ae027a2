"""Finds quiet audio, to which the edges of words are moved."""

import numpy as np

from pocket_tts_jax.shapes import Float

HOP_SECONDS = 0.005
_ABSOLUTE = 10 ** (-60 / 20)  # inaudible below this level
_CLOSURE_SECONDS = 0.1
_RELATIVE = 10 ** (-40 / 20)  # of the loudest 5 ms so far


class Loudness:
    """The level of a chunk's audio, hop by hop of 5 ms, as the audio comes."""

    def __init__(self, sample_rate: int) -> None:
        self.hop = round(HOP_SECONDS * sample_rate)
        self._closure = round(_CLOSURE_SECONDS * sample_rate)
        self._levels: list[Float[np.ndarray, " hops"]] = []
        self._rest = np.zeros(0, np.float32)
        self._loudest = 0.0

    def push(self, samples: Float[np.ndarray, " n"]) -> None:
        joined = np.concatenate([self._rest, samples])
        whole = len(joined) // self.hop * self.hop
        squares = np.square(joined[:whole].reshape(-1, self.hop), dtype=np.float64)
        levels = np.sqrt(squares.mean(1))
        self._rest = joined[whole:]
        if len(levels):
            self._levels.append(levels)
            self._loudest = max(self._loudest, float(levels.max()))

    def silence(self, start: int, stop: int) -> tuple[int, int]:
        """The numbers of quiet samples at the beginning and the end of `start` to `stop`.

        If all are quiet, they count at the end. Short silence at the beginning is the closure of a
        consonant (as in "ten") and not counted.
        """
        if len(self._levels) > 1:
            self._levels = [np.concatenate(self._levels)]
        first, last = -(-start // self.hop), stop // self.hop
        levels = self._levels[0][first:last] if self._levels else np.zeros(0)
        loud = np.flatnonzero(levels >= max(_ABSOLUTE, self._loudest * _RELATIVE))
        if not len(loud):
            return 0, stop - start
        before = int(loud[0]) * self.hop
        behind = stop - (first + int(loud[-1]) + 1) * self.hop
        return (before if before >= self._closure else 0), max(behind, 0)
