"""Where audio is quiet: the edges of words are moved there."""

import numpy as np

from pocket_tts_jax.shapes import Float

HOP_SECONDS = 0.005
_ABSOLUTE = 10 ** (-60 / 20)  # below it nothing is heard
_RELATIVE = 10 ** (-40 / 20)  # of the loudest 5 ms so far


class Loudness:
    """The level of a chunk's audio, hop by hop of 5 ms, as the audio comes."""

    def __init__(self, sample_rate: int) -> None:
        self.hop = round(HOP_SECONDS * sample_rate)
        self._levels: list[Float[np.ndarray, " hops"]] = []
        self._rest = np.zeros(0, np.float32)
        self._loudest = 0.0
        self.hops = 0

    def push(self, samples: Float[np.ndarray, " n"]) -> None:
        joined = np.concatenate([self._rest, samples])
        whole = len(joined) // self.hop * self.hop
        squares = np.square(joined[:whole].reshape(-1, self.hop), dtype=np.float64)
        levels = np.sqrt(squares.mean(1))
        self._rest = joined[whole:]
        if len(levels):
            self._levels.append(levels)
            self._loudest = max(self._loudest, float(levels.max()))
            self.hops += len(levels)

    def quiet(self, start: int, stop: int) -> np.ndarray:
        """For each hop from `start` to `stop`, whether it is quiet."""
        if len(self._levels) > 1:
            self._levels = [np.concatenate(self._levels)]
        levels = self._levels[0][start:stop] if self._levels else np.zeros(0)
        return levels < max(_ABSOLUTE, self._loudest * _RELATIVE)
