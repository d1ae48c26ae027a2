"""How natural speech sounds, guessed by networks that were trained on listeners' opinions.

DNSMOS (Reddy et al. 2021, https://arxiv.org/abs/2010.15258, and 2022,
https://arxiv.org/abs/2110.01763) as the package `speechmos` has it: mean opinion scores from 1
(bad) to 5. It was made for speech with noise and not for synthetic voices: read it beside the
teacher's own score, on the same sentences.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import soxr
from jaxtyping import Float

from training.losses.spectra import SAMPLE_RATE

RATE = 16_000


class Naturalness(NamedTuple):
    """Means over the recordings."""

    p808_mos: float  # overall quality as one question
    overall_mos: float  # the same beside questions about speech and background


def naturalness(
    audios: Sequence[Float[np.ndarray, " n"]], rate: int = SAMPLE_RATE, every: int = 1
) -> Naturalness:
    """Scores of every `every`-th recording; each takes a second or two of a core."""
    try:
        from speechmos import dnsmos  # pyright: ignore
    except ImportError as error:
        raise ImportError(
            f"Opinion scores need a package ({error}): pip install -r requirements/judge.txt"
        ) from error
    scores = []
    for audio in audios[::every]:
        wave = soxr.resample(np.asarray(audio, np.float32), rate, RATE)
        opinion: Any = dnsmos.run(np.clip(wave, -1, 1), RATE)
        scores.append((opinion["p808_mos"], opinion["ovrl_mos"]))
    return Naturalness(*(float(mean) for mean in np.mean(scores, axis=0)))
