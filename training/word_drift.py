"""Whether word times drift in a long text: the error of its last words against that of its first.

    pocket-tts-jax generate --file talk.txt --pauses --speed 0.8 --seed 1 -o talk.wav \\
        --words words.json
    python -m training.word_drift --text talk.txt --audio talk.wav --words words.json

Each chunk is cut out of the file that was written, where the words say that it is, and a forced
aligner (PocketSphinx), which knows neither the model nor the times, looks for the starts of its
words there. See requirements/judge.txt.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float
from sentencepiece import SentencePieceProcessor

from pocket_tts_jax import SpokenWord, TTSModel
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.text.prepare import Prompt
from training.command_line import command_parser, run_command
from training.data.spectra import SAMPLE_RATE
from training.errors import TrainingError
from training.judging.aligner import PhonemeAligner, is_phoneme
from training.word_times import first_words

WORDS = 10
EDGE = 0.1  # seconds of sound before and after a chunk


class Drift:
    """Errors of the starts of words, in the order of the text. `unaligned` counts chunks."""

    def __init__(self, model: TTSModel, audio: Float[np.ndarray, " n"]) -> None:
        self._pieces = SentencePieceProcessor(str(model.source.tokenizer))
        self._aligner, self._audio = PhonemeAligner(), audio
        self.times: list[float] = []
        self.errors: list[float] = []
        self.chunks = self.unaligned = 0

    def add(self, prompt: Prompt, words: list[SpokenWord]) -> None:
        """Compare one chunk's words with where they are heard."""
        found = first_words(prompt, words)
        tokens = [[self._pieces.id_to_piece(i) for i in prompt.ids[a:b]] for (a, b), _ in found]
        starts = [word.start for _, word in found]
        begin = max(0.0, words[0].start - EDGE)
        first, last = (round(t * SAMPLE_RATE) for t in (begin, words[-1].end + EDGE))
        self.chunks += 1
        heard = None
        if all(any(map(is_phoneme, word)) for word in tokens):
            heard = self._aligner.starts(self._audio[first:last], tokens)
        if heard is None:
            self.unaligned += 1
            return
        self.times += starts
        self.errors += [start - begin - other for start, other in zip(starts, heard, strict=True)]

    def report(self) -> dict[str, float | int]:
        """In milliseconds. The aligner's constant part is the median of all words."""
        errors = 1000 * (np.array(self.errors) - np.median(self.errors))
        slope = np.polyfit(np.array(self.times) / 60, errors, 1)[0]
        return {
            "minutes": round(len(self._audio) / SAMPLE_RATE / 60, 1),
            "chunks": self.chunks,
            "unaligned": self.unaligned,
            "words": len(errors),
            "mean of the first ten": round(float(np.abs(errors[:WORDS]).mean()), 1),
            "mean of the last ten": round(float(np.abs(errors[-WORDS:]).mean()), 1),
            "mean of all": round(float(np.abs(errors).mean()), 1),
            "drift, per minute": round(float(slope), 3),
        }


def prompts_of(model: TTSModel, text: str) -> Iterator[Prompt]:
    """The chunks in which the text was spoken."""
    items = model.prompts(text, options=TextOptions(pauses=True), words=True)
    return (item for item in items if not isinstance(item, Pause))


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--text", type=Path, required=True, help="what was spoken, with --pauses")
    parser.add_argument("--audio", type=Path, required=True, help="the WAV file")
    parser.add_argument("--words", type=Path, required=True, help="the times, of --words")
    parser.add_argument("--model", help="a folder; by default the embedded voice")
    args = parser.parse_args()
    model = TTSModel.load_model(model=args.model)
    audio, rate = soundfile.read(args.audio, dtype="float32")
    if rate != SAMPLE_RATE:
        raise TrainingError(f"{args.audio} has {rate} Hz: the aligner needs {SAMPLE_RATE}.")
    words: defaultdict[int, list[SpokenWord]] = defaultdict(list)
    for fields in json.loads(args.words.read_text(encoding="utf-8"))["words"]:
        word = SpokenWord(**fields)
        words[word.chunk].append(word)
    drift = Drift(model, audio)
    text = args.text.read_text(encoding="utf-8")
    for number, prompt in enumerate(prompts_of(model, text)):
        if words[number]:
            drift.add(prompt, words[number])
    print(json.dumps(drift.report(), indent=1))


if __name__ == "__main__":
    run_command(main)
