"""Faster or slower speech at the same pitch: waveform-similarity overlap-add (WSOLA).

Verhelst and Roelands, "An overlap-add technique based on waveform similarity (WSOLA) for high
quality time-scale modification of speech", ICASSP 1993. The output consists of overlapping 30 ms
windows. Each is taken from the input within 10 ms of its nominal position, where it best continues
the window before it. The delay on a stream is about 40 ms.
"""

import numpy as np

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.shapes import Float

SLOWEST, FASTEST = 0.5, 2.0
_HOP_SECONDS = 0.015  # half a window: the two halves of neighbouring windows add up to one
_SEARCH_SECONDS = 0.010  # to either side: one period of a 50 Hz voice in all


class TimeStretch:
    """A stream of samples at `speed` (0.5 to 2) times its pace.

    For n samples `push` and `finish` together return `round(n / speed)` samples, independent of how
    the input was cut into pieces. At speed 1 the samples are unchanged. Raises ConfigError for a
    speed out of range.
    """

    def __init__(self, speed: float, sample_rate: int = 24000):
        if not SLOWEST <= speed <= FASTEST:
            raise ConfigError(f"speed: expected {SLOWEST} to {FASTEST}, got {speed}")
        self._speed = speed
        self._hop = round(_HOP_SECONDS * sample_rate)
        self._reach = round(_SEARCH_SECONDS * sample_rate)
        self._fade = np.sin(np.pi / 2 * (np.arange(self._hop) + 0.5) / self._hop) ** 2
        self._input = np.zeros(0, np.float32)
        self._dropped = 0  # samples before _input, no longer needed
        self._received = 0
        self._returned = 0
        self._windows = 0
        self._start = 0  # of the window made last, in the input
        self._tail: Float[np.ndarray, " hop"] = np.zeros(0, np.float32)

    def push(self, samples: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        """The output that is complete after `samples`; it lags by up to 40 ms."""
        samples = np.asarray(samples, np.float32)
        self._received += samples.shape[0]
        if self._speed == 1.0:
            return samples
        self._input = np.concatenate([self._input, samples])
        return self._give(self._run(self._received))

    def finish(self) -> Float[np.ndarray, " m"]:
        """The remaining output. Do not use the object afterwards."""
        if self._speed == 1.0 or self._received == 0:
            return np.zeros(0, np.float32)
        # Zeros after the end complete the last windows.
        wanted = round(self._received / self._speed)
        padding = np.zeros(4 * self._hop + 2 * self._reach, np.float32)
        self._input = np.concatenate([self._input, padding])
        pieces = [self._run(self._received + padding.shape[0])]
        pieces.append(self._tail)
        rest = np.concatenate(pieces)
        missing = wanted - self._returned
        return self._give(np.pad(rest, (0, max(missing - rest.shape[0], 0)))[: max(missing, 0)])

    def _give(self, samples: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        self._returned += samples.shape[0]
        return samples.astype(np.float32)

    def _run(self, available: int) -> Float[np.ndarray, " m"]:
        """As many windows as `available` input samples allow."""
        pieces = []
        while True:
            ideal = round(self._windows * self._hop * self._speed)
            needed = max(ideal + self._reach, self._start + self._hop) + 2 * self._hop
            if needed > available:
                return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
            start = self._best_start(ideal) if self._windows else 0
            window = self._span(start, 2 * self._hop)
            head, tail = window[: self._hop], window[self._hop :]
            if self._windows:
                head = self._tail * self._fade[::-1] + head * self._fade
            pieces.append(head)
            self._tail, self._start = tail, start
            self._windows += 1
            self._forget()

    def _best_start(self, ideal: int) -> int:
        """The start near `ideal` whose first half is most similar to the continuation of the last
        window, by normalised cross-correlation."""
        expected = self._span(self._start + self._hop, self._hop).astype(np.float64)
        first = max(ideal - self._reach, 0)
        region = self._span(first, ideal + self._reach - first + self._hop).astype(np.float64)
        products = np.correlate(region, expected, "valid")
        power = np.cumsum(np.concatenate([[0.0], region**2]))
        power = power[self._hop :] - power[: -self._hop]
        likeness = products / np.sqrt(power + 1e-9)
        return first + int(np.argmax(likeness))

    def _span(self, start: int, length: int) -> Float[np.ndarray, " length"]:
        begin = start - self._dropped
        return self._input[begin : begin + length]

    def _forget(self) -> None:
        ideal = round(self._windows * self._hop * self._speed)
        keep = min(self._start + self._hop, max(ideal - self._reach, 0))
        self._input = self._input[keep - self._dropped :]
        self._dropped = keep


def time_stretch(
    audio: Float[np.ndarray, " n"], speed: float, sample_rate: int = 24000
) -> Float[np.ndarray, " m"]:
    """`audio` at `speed` times its pace, at the same pitch: round(n / speed) samples."""
    stretch = TimeStretch(speed, sample_rate)
    return np.concatenate([stretch.push(audio), stretch.finish()])
