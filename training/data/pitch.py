"""The pitch of speech, after Boersma 1993 (https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf).

The period is a lag at which speech is like itself. Of all ways through the lags, one a frame, the
best is strong and goes without leaps. That needs no fundamental, which is weak in the teacher's
voice: trackers that follow the fundamental find twice his pitch, or none.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from training.data.spectra import SAMPLE_RATE

LOWEST, HIGHEST = 65.0, 220.0  # Hz: of a man
HOP, WINDOW = 120, 1200  # samples: 5 and 50 ms
UNVOICED = 120  # the period, in samples, that stands where there is no voice at all
VOICED = 0.45  # how alike voiced speech is to itself, at least; 1 is a copy
QUIET = 0.02  # of the loudest sample: below this there is no voice
# What is taken off: for each octave below the highest pitch, for each octave between neighbours,
# and where a voice begins or ends.
SHORTER, LEAP, CHANGE = 0.02, 0.35, 0.14


class Pitch(NamedTuple):
    """The period at each sample, in samples, and whether there is one."""

    period: Float[np.ndarray, " samples"]
    voiced: Bool[np.ndarray, " samples"]


def find_pitch(audio: Float[np.ndarray, " samples"]) -> Pitch:
    """Of 24 kHz speech."""
    lags = np.arange(int(SAMPLE_RATE / HIGHEST), int(SAMPLE_RATE / LOWEST) + 1)
    strength = np.concatenate([_voicing(audio, lags), _unvoiced(audio)], axis=1)
    octaves = np.log2(lags[:, None] / lags[None])
    costs = np.full((len(lags) + 1,) * 2, CHANGE)  # of going from one state to another
    costs[:-1, :-1] = LEAP * np.abs(octaves)
    costs[-1, -1] = 0
    total, origins = strength[0], []
    for now in strength[1:]:
        reached = total[:, None] - costs
        origins.append(reached.argmax(0))
        total = reached.max(0) + now
    states = [int(total.argmax())]
    for origin in reversed(origins):
        states.append(int(origin[states[-1]]))
    states = np.array(states[::-1])
    known, at = states < len(lags), np.arange(len(audio)) / HOP
    if not known.any():
        return Pitch(np.full(len(audio), float(UNVOICED)), np.zeros(len(audio), bool))
    periods = np.interp(at, np.flatnonzero(known), lags[states[known]])
    return Pitch(periods, np.interp(at, np.arange(len(known)), known.astype(float)) > 0.5)


def _voicing(
    audio: Float[np.ndarray, " samples"], lags: Int[np.ndarray, " lags"]
) -> Float[np.ndarray, "t lags"]:
    """How alike speech is to itself after each lag, 1 at most; short ones are liked a little
    better, since twice a period is one as well."""
    window = np.hanning(WINDOW)
    frames = _frames(audio, WINDOW)
    frames = (frames - frames.mean(1, keepdims=True)) * window

    def correlation(x: Float[np.ndarray, "*t window"]) -> Float[np.ndarray, "*t lags"]:
        power = np.square(np.abs(np.fft.rfft(x, 2 * WINDOW)))
        found = np.fft.irfft(power)
        return found[..., lags] / (found[..., :1] + 1e-9)

    return correlation(frames) / correlation(window) - SHORTER * np.log2(lags / lags[0])


def _unvoiced(audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "t 1"]:
    """How well no pitch explains each frame: better where it is quiet."""
    peaks = np.abs(_frames(audio, 2 * HOP)).max(1, keepdims=True) / (np.abs(audio).max() + 1e-9)
    return VOICED + np.maximum(0, 2 - peaks / QUIET)


def _frames(audio: Float[np.ndarray, " samples"], width: int) -> Float[np.ndarray, "t width"]:
    """One in each hop, around its first sample."""
    padded = np.pad(audio, width // 2 + HOP)
    views = np.lib.stride_tricks.sliding_window_view(padded, width)
    return views[HOP : HOP + len(audio) + 1 : HOP]
