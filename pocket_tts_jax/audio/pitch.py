"""The pitch of a stream of speech, after Boersma 1993
(https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf).

The period is a lag at which speech is similar to itself. The path through the lags, one in each hop
of 5 ms, is the one that is strongest and has no leaps (Viterbi, with a delay of `DELAY` hops). No
fundamental is needed: it is weak in the embedded voice, and trackers that follow it find twice the
pitch, or none.
"""

import numpy as np

from pocket_tts_jax.shapes import Float, Int

SAMPLE_RATE = 24000
LOWEST, HIGHEST = 65.0, 400.0  # Hz
HOP, WINDOW = 120, 1200  # samples: 5 and 50 ms
DELAY = 10  # hops from a window's middle to the decision about it
LONGEST = int(SAMPLE_RATE / LOWEST) + 4  # samples: no period is longer

_COARSE = 3  # lags are searched at a third of the rate, and refined by a parabola
_VOICED = 0.45  # similarity of voiced speech to itself, at least; a copy has 1
_QUIET = 0.02  # of the loudest sample so far: below it there is no voice
_LOUDEST = 0.1  # of full scale: what the loudest sample is taken for, at least
# Costs: of each octave below the highest pitch, of each octave between neighbours, and of a
# beginning or an end of voice.
_SHORTER, _LEAP, _CHANGE = 0.02, 0.35, 0.14


class PitchTracker:
    """Periods of 24 kHz speech, hop by hop, independent of how the input is cut into pieces."""

    def __init__(self) -> None:
        rate = SAMPLE_RATE / _COARSE
        self._lags = np.arange(int(rate / HIGHEST), int(rate / LOWEST) + 1)
        self._window = np.hanning(WINDOW // _COARSE)
        self._window_similarity = _autocorrelation(self._window[None], self._lags)[0]
        self._shorter = _SHORTER * np.log2(self._lags / self._lags[0])
        self._costs = _costs(self._lags)
        self._states = np.arange(len(self._costs))
        self._total: Float[np.ndarray, " states"] = np.zeros(len(self._lags) + 1)
        self._wave = np.zeros(WINDOW // 2)  # from the middle of the next hop's window
        self._loudest = _LOUDEST
        self._origins: list[Int[np.ndarray, " states"]] = []  # of the hops not decided yet
        self._refined: list[Float[np.ndarray, " states"]] = []
        self._periods: list[float] = []

    @property
    def known(self) -> int:
        """The number of samples from the first whose period is known."""
        return len(self._periods) * HOP - HOP // 2

    def period(self, sample: int) -> float:
        """The period around a known sample, in samples; 0 where there is no voice."""
        return self._periods[(sample + HOP // 2) // HOP]

    def push(self, samples: Float[np.ndarray, " n"]) -> None:
        """Go on with these samples."""
        self._wave = np.concatenate([self._wave, samples])
        count = (len(self._wave) - WINDOW) // HOP + 1
        if count <= 0:
            return
        frames = np.lib.stride_tricks.sliding_window_view(self._wave, WINDOW)[: count * HOP : HOP]
        middles = frames[:, WINDOW // 2 - HOP : WINDOW // 2 + HOP]
        similarity = self._similarity(frames)
        refined = np.pad(_COARSE * (self._lags + _parabola(similarity)), ((0, 0), (0, 1)))
        for row, peak, periods in zip(
            similarity - self._shorter, np.abs(middles).max(1), refined, strict=True
        ):
            self._loudest = max(self._loudest, float(peak))
            unvoiced = _VOICED + max(0.0, 2 - peak / self._loudest / _QUIET)
            self._go_on(np.append(row, unvoiced), periods)
        self._wave = self._wave[count * HOP :]

    def finish(self, samples: int) -> None:
        """Silence follows; afterwards all of the first `samples` samples are known."""
        self.push(np.zeros(WINDOW))
        while self.known < samples:
            self.push(np.zeros(HOP))

    def _similarity(self, frames: Float[np.ndarray, "t window"]) -> Float[np.ndarray, "t lags"]:
        """Similarity of speech to itself at each lag, 1 at most."""
        coarse = frames.reshape(len(frames), -1, _COARSE).mean(2)
        coarse = (coarse - coarse.mean(1, keepdims=True)) * self._window
        return _autocorrelation(coarse, self._lags) / self._window_similarity

    def _go_on(self, values: Float[np.ndarray, " states"], refined: np.ndarray) -> None:
        if self._refined:
            reached = self._total - self._costs  # by the new state, then by the one before
            origin = reached.argmax(1)
            values = values + reached[self._states, origin]
            self._origins.append(origin)
        self._total = values - values.max()
        self._refined.append(refined)
        if len(self._refined) > DELAY:
            state = int(self._total.argmax())
            for origin in reversed(self._origins):
                state = int(origin[state])
            self._periods.append(float(self._refined.pop(0)[state]))
            del self._origins[0]


def _costs(lags: Int[np.ndarray, " lags"]) -> Float[np.ndarray, "states states"]:
    """Of going from one state to another; the last state is the one without voice."""
    costs = np.full((len(lags) + 1,) * 2, _CHANGE)
    costs[:-1, :-1] = _LEAP * np.abs(np.log2(lags[:, None] / lags[None]))
    costs[-1, -1] = 0
    return costs


def _autocorrelation(
    frames: Float[np.ndarray, "t n"], lags: Int[np.ndarray, " lags"]
) -> Float[np.ndarray, "t lags"]:
    power = np.square(np.abs(np.fft.rfft(frames, 2 * frames.shape[1])))
    found = np.fft.irfft(power)
    return found[:, lags] / (found[:, :1] + 1e-9)


def _parabola(values: Float[np.ndarray, "t lags"]) -> Float[np.ndarray, "t lags"]:
    """From each lag to the vertex of the parabola through it and its neighbours, half a lag at
    most."""
    before, here, after = values[:, :-2], values[:, 1:-1], values[:, 2:]
    bend = np.minimum(before - 2 * here + after, -1e-9)
    vertex = np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    return np.pad(vertex, ((0, 0), (1, 1)))
