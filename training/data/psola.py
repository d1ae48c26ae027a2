"""Pitch and formants of speech moved, its timing kept: pitch-synchronous overlap-add.

Speech is cut into grains of two periods, each around a mark in its period (Moulines and
Charpentier 1990, https://doi.org/10.1016/0167-6393(90)90021-Z). Laid down nearer to each other the
grains have a higher pitch; each of them shortened, higher formants. Time stays as it is.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import soxr
from jaxtyping import Bool, Float, Int

from training.data.pitch import LOWEST, UNVOICED, Pitch
from training.data.spectra import SAMPLE_RATE

FINER = 4  # grains are read between samples: from a signal of so many times the rate
NEAR = 0.8, 1.25  # the next mark is so many periods away
# Grains of noise that were shortened are no longer in step, and add up to less.
OUT_OF_STEP = 1.15


class Marks(NamedTuple):
    """Where grains are cut out, in order, with the period there in samples."""

    place: Int[np.ndarray, " n"]
    period: Float[np.ndarray, " n"]
    voiced: Bool[np.ndarray, " n"]


def move(
    audio: Float[np.ndarray, " samples"],
    heard: Pitch,
    pitch: float,
    melody: float,
    formants: float,
) -> Float[np.ndarray, " samples"]:
    """24 kHz speech, as long and as loud. The last three are factors: `melody` is that of the
    distance, in semitones, to the mean pitch."""
    wave = np.asarray(audio, np.float64)
    marks = find_marks(wave, heard)
    finer = soxr.resample(_below(wave, SAMPLE_RATE / 2 / max(1, formants)), 1, FINER, quality="VHQ")
    periods = _new_periods(marks, pitch, melody)
    margin = 2 * int(SAMPLE_RATE / LOWEST / min(1, formants))
    finer = np.pad(finer, margin * FINER)
    made = np.zeros(len(wave) + 2 * margin)
    for centre, i in _laid_down(marks, periods, len(wave)):
        half = marks.period[i] / formants
        gain = OUT_OF_STEP if formants != 1 else 1.0
        if marks.voiced[i]:  # power per hertz as it was
            gain = formants * (periods[i] / marks.period[i]) ** 0.5
        offsets = np.arange(-int(half), int(half) + 1)
        window = 0.5 + 0.5 * np.cos(np.pi * offsets / half)
        grain = _read(finer, (margin + marks.place[i] + offsets * formants) * FINER)
        made[margin + centre + offsets] += gain * window * grain
    made = made[margin : margin + len(wave)]
    loudness = np.sqrt(np.square(wave).mean() / max(np.square(made).mean(), 1e-12))
    return (made * loudness).astype(np.float32)


def find_marks(wave: Float[np.ndarray, " samples"], heard: Pitch) -> Marks:
    """One mark in each period of voiced speech, and others between at even distances."""
    periods, voiced = heard
    steps = np.diff(voiced.astype(np.int8), prepend=0, append=0)
    begin, end = (np.flatnonzero(steps == sign).tolist() for sign in (1, -1))
    stretches = zip(begin, end, strict=True)
    marks = [(place, True) for a, b in stretches for place in _follow(wave, periods, a, b)]
    bounds = [0, *(place for place, _ in marks), len(wave)]
    for before, after in zip(bounds, bounds[1:], strict=False):
        reach = max(UNVOICED, periods[max(0, before - 1)], periods[min(after, len(wave) - 1)])
        if after - before > 1.8 * reach:
            count = (after - before) // UNVOICED
            between = np.linspace(before, after, count + 1)[1:-1].astype(int)
            marks += [(place, False) for place in between]
    marks = sorted(marks) or [(len(wave) // 2, False)]
    place = np.array([mark[0] for mark in marks])
    kind = np.array([mark[1] for mark in marks])
    return Marks(place, np.where(kind, periods[place], float(UNVOICED)), kind)


def _follow(
    wave: Float[np.ndarray, " samples"], periods: Float[np.ndarray, " samples"], a: int, b: int
) -> list[int]:
    """Marks of the voiced stretch from a to b: the loudest sample, and to both sides the places
    about a period away that look most like the last one."""
    middle = int(np.abs(wave[a:b]).argmax() + a)
    marks = [middle]
    for direction in (-1, 1):
        mark: int | None = middle
        while (mark := _next(wave, mark, periods[mark], direction)) is not None and a <= mark < b:
            marks.append(mark)
    return sorted(marks)


def _next(
    wave: Float[np.ndarray, " samples"], mark: int, period: float, direction: int
) -> int | None:
    """The neighbour of a mark; None where the recording ends."""
    half = int(0.75 * period)
    distances = np.arange(int(NEAR[0] * period), int(NEAR[1] * period) + 1)
    places = mark + direction * distances
    places = places[(places >= half) & (places + half < len(wave))]
    if not len(places) or mark < half or mark + half >= len(wave):
        return None
    shapes = np.lib.stride_tricks.sliding_window_view(wave, 2 * half)[places - half]
    alike = shapes @ wave[mark - half : mark + half]
    return int(places[np.argmax(alike / np.sqrt(np.square(shapes).sum(1) + 1e-9))])


def _new_periods(marks: Marks, pitch: float, melody: float) -> Float[np.ndarray, " n"]:
    if not marks.voiced.any():
        return marks.period
    mean = np.log(marks.period[marks.voiced]).mean()
    moved = np.exp(mean + melody * (np.log(marks.period) - mean)) / pitch
    return np.where(marks.voiced, moved, marks.period)


def _laid_down(
    marks: Marks, periods: Float[np.ndarray, " n"], samples: int
) -> Iterator[tuple[int, int]]:
    """(where a grain's middle goes, which mark is nearest to it), a new period apart."""
    between, time = (marks.place[1:] + marks.place[:-1]) / 2, 0.0
    while time < samples:
        nearest = int(np.searchsorted(between, time))
        yield round(time), nearest
        time += periods[nearest]


def _below(wave: Float[np.ndarray, " samples"], hertz: float) -> Float[np.ndarray, " samples"]:
    """Without what would alias when the grains are shortened."""
    spectrum = np.fft.rfft(wave)
    frequencies = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum * np.clip((hertz - frequencies) / 300, 0, 1), len(wave))


def _read(wave: Float[np.ndarray, " n"], at: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Values between samples."""
    low = at.astype(int)
    part = at - low
    return wave[low] * (1 - part) + wave[low + 1] * part
