"""The speakers that the teacher's speech is turned into: one teacher, several voices."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pocket_tts_jax.audio.timbre import Timbre, shift_timbre


@dataclass(frozen=True)
class Speaker:
    """How a person differs from the teacher; factors of 1 leave things as they are."""

    timbre: Timbre
    length: float = 1.0  # of the sounds, by the teacher itself: above 1 is slower

    def say(self, audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
        """What the teacher said at this speaker's `length`, in this speaker's voice."""
        return shift_timbre(audio, self.timbre)


SPEAKERS = {
    "una": Speaker(Timbre(pitch=2.1, formants=1.16), length=0.95),  # a woman
    "mia": Speaker(Timbre(pitch=2.5, formants=1.23), length=0.90),  # young, light and quick
    "otto": Speaker(Timbre(pitch=0.85, formants=0.86), length=1.12),  # large, deep and slow
}
