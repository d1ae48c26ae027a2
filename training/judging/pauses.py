"""Faint tones in pauses: a decoder that repeats itself at a fixed rate hums where it should be
silent."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from training.data.spectra import SAMPLE_RATE

WINDOW = 4096  # samples: bins of 6 Hz
QUIET = 10 ** (-45 / 20)  # a pause is this much below the loudest sample
AROUND = 33  # bins (200 Hz) whose median is the floor of the bin in their middle
BAND = (300, 10_000)  # Hz; below is hum of the voice, above there is no speech


def tone_level(audios: Sequence[Float[np.ndarray, " samples"]]) -> float | None:
    """How far the strongest tone in pauses stands above the noise around it, in dB. Noise alone
    gives 8 for a single window, 1 for five hundred. None where no pause is as long as a window."""
    power = np.zeros(WINDOW // 2 + 1)
    count = 0
    for audio in audios:
        for start in range(0, len(audio) - WINDOW + 1, WINDOW // 2):
            part = audio[start : start + WINDOW]
            if 0 < np.abs(part).max() < QUIET * np.abs(audio).max():
                power += np.square(np.abs(np.fft.rfft(part * np.hanning(WINDOW))))
                count += 1
    if not count:
        return None
    level = 10 * np.log10(power / count + 1e-20)
    windows = np.lib.stride_tricks.sliding_window_view(level, AROUND)
    above = level[AROUND // 2 : -(AROUND // 2)] - np.median(windows, axis=-1)
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)[AROUND // 2 : -(AROUND // 2)]
    return float(above[(hertz > BAND[0]) & (hertz < BAND[1])].max())
