"""Speech in another pitch, with other formants and at another pace: pitch-synchronous overlap-add.

Moulines and Charpentier, "Pitch-synchronous waveform processing techniques for text-to-speech
synthesis using diphones", Speech Communication 9, 1990
(https://doi.org/10.1016/0167-6393(90)90021-Z). Speech is cut into grains of two periods, each
around a mark in its period. Grains that are closer to each other have a higher pitch. Grains that
are shorter have higher formants, as of a shorter vocal tract. At another pace some grains are left
out or used twice. A grain of a voice is averaged with those of the periods beside it: what differs
between them is noise for the most part. A stream is delayed by about 120 ms.
"""

from dataclasses import asdict, dataclass

import numpy as np

from pocket_tts_jax.audio.pitch import HOP, LONGEST, PitchTracker
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.shapes import Float

LEAST, MOST = 0.5, 3.0
_UNVOICED = 120  # samples between marks where there is no voice
_GAP = int(1.8 * _UNVOICED)  # to the next mark, at most
_NEAREST, _FARTHEST = 0.8, 1.25  # periods to the next mark
_AHEAD = _GAP + LONGEST  # of the last mark: pitch and samples that the search for the next reads
# Grains of noise are not in step with each other once they have been shortened, and add up to less.
_OUT_OF_STEP = 1.15
_TAPS = 16  # to either side, of the filter that reads between samples


@dataclass(frozen=True)
class Timbre:
    """How speech is changed: factors of its pitch, of the frequencies of its formants and of its
    pace, 0.5 to 3. Raises ConfigError for others."""

    pitch: float = 1.0
    formants: float = 1.0
    pace: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not LEAST <= value <= MOST:
                raise ConfigError(f"{name}: expected {LEAST} to {MOST}, got {value}")

    def length(self, samples: int) -> int:
        """How many samples so many become."""
        return round(samples / self.pace)


@dataclass(frozen=True)
class _Mark:
    """The middle of a grain, and the period there in samples."""

    place: int
    period: float
    voiced: bool

    def follows(self, last: "_Mark") -> bool:
        """Whether this is the next period of the same voice."""
        near = self.place - last.place <= _FARTHEST * last.period
        return self.voiced and last.voiced and near


class TimbreShift:
    """A stream of 24 kHz speech in another timbre.

    `push` and `finish` together return `timbre.length(n)` samples for n, independent of how the
    input was cut into pieces.
    """

    def __init__(self, timbre: Timbre):
        self._timbre = timbre
        self._tracker = PitchTracker()
        self._wave = np.zeros(2 * LONGEST)
        self._begin = -2 * LONGEST  # of _wave, in the input
        self._received = 0
        # From the one before the nearest to the next grain on; there is one after the nearest too.
        self._marks = [_Mark(place, _UNVOICED, voiced=False) for place in (-_UNVOICED, 0)]
        self._grain: np.ndarray | None = None  # of the nearest, once it was read
        self._time = 0.0  # of the next grain's middle, in the output
        self._reach = int(LONGEST / timbre.formants) + 1  # of a grain to either side, at most
        self._made = np.zeros(2 * self._reach)  # grains added up, from the first sample not given
        self._given = -self._reach
        self._offsets, self._filters = _reader(timbre.formants, self._reach)

    def push(self, samples: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        """The output that is complete after `samples`."""
        self._received += len(samples)
        self._extend(np.asarray(samples, np.float64))
        self._tracker.push(samples)
        return self._give(self._run(self._received))

    def finish(self) -> Float[np.ndarray, " m"]:
        """The remaining output. Do not use the object afterwards."""
        silence = 4 * LONGEST + _AHEAD + int(self._timbre.pace * (self._reach + 1))
        self._extend(np.zeros(silence))
        self._tracker.finish(self._received + silence)
        self._run(self._received + silence)
        return self._give(self._timbre.length(self._received))

    def _extend(self, samples: Float[np.ndarray, " n"]) -> None:
        keep = self._marks[0].place - 2 * LONGEST
        self._wave = np.concatenate([self._wave[max(0, keep - self._begin) :], samples])
        self._begin = max(self._begin, keep)

    def _run(self, received: int) -> int:
        """Lay down the grains that `received` samples allow. Returns where the output that they
        complete ends."""
        known = min(self._tracker.known, received - 2 * LONGEST)
        while self._marks[-1].place + _AHEAD < known:
            self._marks.append(self._next_mark(self._marks[-1]))
            while self._time * self._timbre.pace <= self._marks[-2].place:
                self._lay_down()
        return int(self._time) - self._reach

    def _give(self, end: int) -> Float[np.ndarray, " m"]:
        """What has been made up to `end`, from the first sample on."""
        count = max(0, end - self._given)
        if count > len(self._made):  # short grains leave gaps
            self._made = np.pad(self._made, (0, count - len(self._made)))
        ready, self._made = self._made[:count], self._made[count:]
        skipped = max(0, -self._given)
        self._given += count
        return ready[skipped:].astype(np.float32)

    def _next_mark(self, last: _Mark) -> _Mark:
        period = self._tracker.period
        if last.voiced:
            place = self._alike(last)
            if period(place):
                return _Mark(place, period(place), voiced=True)
        onset = self._onset(last.place)
        if onset is None:
            return _Mark(last.place + _UNVOICED, _UNVOICED, voiced=False)
        first = self._span(onset, onset + int(period(onset)))
        place = onset + int(np.abs(first).argmax())
        return _Mark(place, period(place) or period(onset), voiced=True)

    def _onset(self, place: int) -> int | None:
        """Where a voice begins, at most `_GAP` samples after `place`."""
        half = HOP // 2
        for begin in range((place + half) // HOP * HOP + half, place + _GAP, HOP):
            if self._tracker.period(begin) and not self._tracker.period(begin - 1):
                return begin
        return None

    def _alike(self, mark: _Mark) -> int:
        """The place about a period after a mark that is most similar to it, by normalised
        cross-correlation."""
        half = int(0.75 * mark.period)
        first = mark.place + int(_NEAREST * mark.period)
        last = mark.place + int(_FARTHEST * mark.period)
        region = self._span(first - half, last + half)
        products = np.correlate(region, self._span(mark.place - half, mark.place + half), "valid")
        power = np.cumsum(np.concatenate([[0.0], region**2]))
        power = power[2 * half :] - power[: -2 * half]
        return first + int(np.argmax(products / np.sqrt(power + 1e-9)))

    def _lay_down(self) -> None:
        """Add the grain of the nearest mark at the present time, and go on by a new period."""
        marks, now = self._marks, self._time * self._timbre.pace  # in the input
        while marks[1].place + marks[2].place < 2 * now:
            del marks[0]
            self._grain = None
        mark, formants = marks[1], self._timbre.formants
        if mark.voiced:
            period = mark.period / self._timbre.pitch
            gain = (formants * period / mark.period) ** 0.5  # the power of the speech as it was
            half = mark.period / formants
        else:
            period = half = float(_UNVOICED)
            gain = _OUT_OF_STEP if formants != 1 else 1.0
        count = int(half)
        window = 0.5 + 0.5 * np.cos(np.pi * np.arange(-count, count + 1) / half)
        if self._grain is None:
            self._grain = self._read_grain(count)
        begin = round(self._time) - count - self._given
        missing = begin + 2 * count + 1 - len(self._made)
        if missing > 0:
            self._made = np.pad(self._made, (0, missing + 4 * self._reach))
        self._made[begin : begin + 2 * count + 1] += gain * window * self._grain
        self._time += period

    def _read_grain(self, count: int) -> Float[np.ndarray, " n"]:
        """The grain of the nearest mark, `count` samples to either side."""
        before, mark, after = self._marks[:3]
        grain = self._read(mark.place, count)
        if mark.follows(before) and after.follows(mark):
            beside = self._read(before.place, count) + self._read(after.place, count)
            grain = 0.5 * grain + 0.25 * beside
        return grain

    def _read(self, place: int, count: int) -> Float[np.ndarray, " n"]:
        """`count` samples of a grain to either side of a place in the input."""
        chosen = slice(self._reach - count, self._reach + count + 1)
        at = place - self._begin + self._offsets[chosen]
        return np.einsum("nk,nk->n", self._wave[at], self._filters[chosen])

    def _span(self, begin: int, end: int) -> Float[np.ndarray, " n"]:
        return self._wave[begin - self._begin : end - self._begin]


def shift_timbre(audio: Float[np.ndarray, " n"], timbre: Timbre) -> Float[np.ndarray, " n"]:
    """24 kHz speech in another timbre: `timbre.length` of its samples."""
    shift = TimbreShift(timbre)
    return np.concatenate([shift.push(audio), shift.finish()])


def _reader(formants: float, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """How a grain that is read `formants` samples at a time takes its values from whole samples:
    offsets from the mark [2 reach + 1, taps], and the weights of a filter below the new rate."""
    at = np.arange(-reach, reach + 1) * formants
    whole = np.floor(at)
    taps = np.arange(1 - _TAPS, _TAPS + 1)
    distance = taps - (at - whole)[:, None]
    pass_band = min(1.0, 1 / formants)
    weights = np.sinc(pass_band * distance) * (0.5 + 0.5 * np.cos(np.pi * distance / _TAPS))
    weights = np.where(np.abs(distance) < _TAPS, weights, 0.0)
    weights /= weights.sum(1, keepdims=True)
    return (whole[:, None] + taps).astype(int), weights
