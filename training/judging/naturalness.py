"""How natural speech sounds, guessed by networks that were trained on listeners' opinions.

DNSMOS (Reddy et al. 2021, https://arxiv.org/abs/2010.15258, and 2022,
https://arxiv.org/abs/2110.01763) as the package `speechmos` has it: mean opinion scores from 1
(bad) to 5. It was made for speech with noise and not for synthetic voices: read it beside the
teacher's own score, on the same sentences.

DNSMOS repeats short clips until they last nine seconds. The copies of a clip whose length is a
multiple of 80 ms fall on the metric's own grid of 10 ms, and the score comes out 0.15 to 0.3 too
low. So each clip is scored several times, with silence of odd lengths around it, and the mean
counts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import soxr
from jaxtyping import Float

from training.command_line import with_progress
from training.data.spectra import SAMPLE_RATE

RATE = 16_000
SPAN = int(9.01 * RATE)  # samples that DNSMOS looks at
# Samples of silence before and after, at 16 kHz: 30 to 110 ms, no sum a multiple of 10 ms.
SILENCES = ((595, 1621), (1787, 700), (1069, 1213))


class Naturalness(NamedTuple):
    """Mean opinion scores of each recording, 1 to 5."""

    p808: Float[np.ndarray, " n"]  # overall quality as one question
    overall: Float[np.ndarray, " n"]  # the same beside questions about speech and background


def naturalness(
    audios: Sequence[Float[np.ndarray, " samples"]], rate: int = SAMPLE_RATE
) -> Naturalness:
    """Scores of each recording; one takes two to three seconds of a core."""
    from speechmos import dnsmos  # pyright: ignore

    scores = []
    for audio in with_progress(audios, "opinions"):
        wave = np.clip(soxr.resample(np.asarray(audio, np.float32), rate, RATE), -1, 1)
        opinions: list[Any] = [dnsmos.run(_filled(np.pad(wave, s)), RATE) for s in SILENCES]
        scores.append([(o["p808_mos"], o["ovrl_mos"]) for o in opinions])
    return Naturalness(*np.mean(scores, axis=1).T)


def _filled(wave: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " more"]:
    """Copies of a short clip that fill the span once. DNSMOS alone doubles a clip until it is
    longer, and then scores up to seven shifts of the same copies, at seven times the cost."""
    return np.resize(wave, SPAN) if len(wave) < SPAN else wave
