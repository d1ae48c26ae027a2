"""When words are spoken, by two programs that know nothing of the model's attention.

- `PhonemeAligner`: PocketSphinx with the acoustic model that its package carries finds given
  phonemes in speech (forced alignment, in steps of 10 ms).
- `fitted`: times that are known in one recording (the teacher's, whose durations are exact),
  carried over to another of the same words by dynamic time warping of their spectra.

Both have errors of their own: measure them on the teacher's speech.
"""

from collections.abc import Sequence

import numpy as np
import soxr
from jaxtyping import Float

from training.data.phonemes import CONSONANTS, VOWELS
from training.data.spectra import SAMPLE_RATE

_ARPABET = {character: name for name, character in CONSONANTS.items()}
for _name, (_plain, _primary, _secondary, _) in VOWELS.items():
    _ARPABET |= dict.fromkeys((_plain, _primary, _secondary), _name)
_ARPABET["ɾ"] = "D"  # the nearest sound that the acoustic model has
_RATE = 16_000
_STEP = 0.01  # seconds
_MARGIN = 0.2  # seconds of silence on either side of what is aligned
_HOP = 120  # samples, 5 ms


class PhonemeAligner:
    """Words as phonemes, found in speech."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder  # pyright: ignore

        self._decoder = Decoder(lm=None, samprate=_RATE, loglevel="FATAL")
        self._names: dict[str, str] = {}

    def starts(
        self, audio: Float[np.ndarray, " n"], words: Sequence[Sequence[str]]
    ) -> list[float] | None:
        """The second at which each word starts; None where they were not all found.

        A word is its tokens, of which those that are phonemes count.
        """
        names = [self._name(word) for word in words]
        silence = np.zeros(round(_MARGIN * SAMPLE_RATE), np.float32)
        wave = soxr.resample(np.concatenate([silence, audio, silence]), SAMPLE_RATE, _RATE)
        samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
        self._decoder.set_align_text(" ".join(names))
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
        # A word can stand there as "name(2)", in another of its pronunciations; silence as "<sil>".
        heard = [(part.word.split("(")[0], part.start_frame) for part in self._decoder.seg() or []]
        found = [(name, frame) for name, frame in heard if name in self._names.values()]
        if [name for name, _ in found] != names:
            return None
        return [frame * _STEP - _MARGIN for _, frame in found]

    def _name(self, word: Sequence[str]) -> str:
        """What the decoder's dictionary calls these phonemes."""
        sounds = " ".join(_ARPABET[token] for token in word if token in _ARPABET)
        if sounds not in self._names:
            self._names[sounds] = f"word{len(self._names)}x"
            self._decoder.add_word(self._names[sounds], sounds, True)
        return self._names[sounds]


def is_phoneme(token: str) -> bool:
    return token in _ARPABET


def fitted(
    known: Float[np.ndarray, " n"], times: Sequence[float], other: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " times"]:
    """The seconds of `other` that correspond to `times` of `known`."""
    import librosa

    costs = {"step_sizes_sigma": np.array([[1, 1], [1, 2], [2, 1]])}
    costs["weights_mul"] = np.array([1.0, 1.5, 1.5])
    _, path = librosa.sequence.dtw(_spectrum(known), _spectrum(other), metric="euclidean", **costs)  # pyright: ignore
    path = path[::-1] * _HOP / SAMPLE_RATE
    return np.interp(times, path[:, 0], path[:, 1])


def _spectrum(audio: Float[np.ndarray, " n"]) -> Float[np.ndarray, "40 t"]:
    import librosa

    power = librosa.feature.melspectrogram(
        y=np.pad(audio, (0, 4 * _HOP)),
        sr=SAMPLE_RATE,
        n_fft=5 * _HOP,
        hop_length=_HOP,
        n_mels=40,
        fmax=8000,
    )
    levels = np.log(power + 1e-5)
    return levels - levels.mean(1, keepdims=True)
