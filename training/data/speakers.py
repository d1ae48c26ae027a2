"""The speakers that the teacher's speech is turned into: one teacher, several voices."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from training.data.pitch import find_pitch
from training.data.psola import move


@dataclass(frozen=True)
class Speaker:
    """How a person differs from the teacher. All are factors; 1 leaves things as they are."""

    pitch: float = 1.0
    melody: float = 1.0  # of the distance, in semitones, to the mean pitch of the sentence
    formants: float = 1.0  # high ones mean a short vocal tract
    length: float = 1.0  # of the sounds, by the teacher itself: above 1 is slower

    def say(self, audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
        """What the teacher said at this speaker's `length`, in this speaker's voice."""
        return move(audio, find_pitch(audio), self.pitch, self.melody, self.formants)


SPEAKERS = {
    "ada": Speaker(pitch=2.1, formants=1.16, length=0.95),  # a woman
    "mia": Speaker(pitch=2.5, formants=1.23, length=0.90),  # young, light and quick
    "otto": Speaker(pitch=0.85, formants=0.86, length=1.12),  # large, deep and slow
}
