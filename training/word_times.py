"""How exact the word times of the embedded voice are.

    python -m training.word_times --sentences data/sentences.jsonl --count 200 --out times.json

The held-out sentences are spoken with their times by the package's engine and, in the same tokens,
by the teacher, whose durations are known. The truth is what the teacher's durations become when
they are fitted to the model's own audio (`training.judging.aligner.fitted`). Beside it stand:

- the error of that fit, on the teacher at another pace, where the times are known;
- a forced aligner of another make (PocketSphinx), and its own error on the teacher. It puts a
  word's start before the transition into its first sound, so its median there is taken off;
- the guess from character counts, which needs no model.

See requirements/teacher.txt and requirements/judge.txt for what this needs.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float
from sentencepiece import SentencePieceProcessor

from pocket_tts_jax import SpokenWord, TTSModel
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.prepare import Prompt
from training.command_line import command_parser, run_command
from training.data.spectra import SAMPLE_RATE
from training.data.teacher import Teacher
from training.judging.aligner import PhonemeAligner, fitted, is_phoneme

PACES = (0.8, 1.25)  # between which the teacher's words are stretched to measure the fit


@dataclass
class Errors:
    """Seconds by which starts of words differ from the truth, over all sentences."""

    attention: list[float] = field(default_factory=list)
    characters: list[float] = field(default_factory=list)
    fit: list[float] = field(default_factory=list)
    aligner: list[float] = field(default_factory=list)  # attention against it
    aligner_itself: list[float] = field(default_factory=list)
    words: int = 0
    missing: int = 0
    disordered: int = 0
    sentences: int = 0
    unaligned: int = 0

    def report(self) -> dict[str, dict[str, float] | int]:
        """In milliseconds; the aligner's without its median on the teacher."""
        median = float(np.median(self.aligner_itself)) if self.aligner_itself else 0.0
        rows = {
            "attention against the fitted durations": self.attention,
            "character counts against the same": self.characters,
            "the fit itself, on the teacher": self.fit,
            "attention against the forced aligner": [e + median for e in self.aligner],
            "the forced aligner itself, on the teacher": [e - median for e in self.aligner_itself],
        }
        counts = ("sentences", "words", "missing", "disordered", "unaligned")
        return {name: getattr(self, name) for name in counts} | {
            name: _summary(errors) for name, errors in rows.items() if errors
        }


def _summary(errors: Sequence[float]) -> dict[str, float]:
    size = np.abs(errors) * 1000
    return {
        "words": len(size),
        "mean": round(float(size.mean()), 1),
        "95 %": round(float(np.percentile(size, 95)), 1),
        "median with sign": round(float(np.median(errors)) * 1000, 1),
    }


class Judge:
    """Compares the times of one sentence after the other."""

    def __init__(self, model: TTSModel, seed: int) -> None:
        self._model, self._seed = model, seed
        self._voice = model.get_state_for_audio_prompt(model.default_voice())
        self._pieces = SentencePieceProcessor(str(model.source.tokenizer))
        self._teacher, self._aligner = Teacher(), PhonemeAligner()
        self._draw = np.random.default_rng(seed)
        self.errors = Errors()

    def add(self, text: str) -> None:
        """Speak a sentence; one of several chunks is left out."""
        items = list(self._model.prompts(text, words=True))
        if len(items) > 1 or isinstance(items[0], Pause):
            return
        prompt, errors = items[0], self.errors
        audio, words = self._model.generate_audio_with_times(self._voice, text, seed=self._seed)
        errors.sentences += 1
        errors.words += len(prompt.words)
        errors.missing += len(prompt.words) - len(words)
        errors.disordered += sum(a.end > b.start + 1e-6 for a, b in pairwise(words))
        starts = first_words(prompt, words)
        pieces = [self._pieces.id_to_piece(token) for token in prompt.ids]
        spans = [tokens for tokens, _ in starts]
        spoken, ends = self._teacher.speak(pieces)
        known = [_start(pieces, ends, span) for span in spans]
        heard = np.array([word.start for _, word in starts])
        truth = fitted(spoken, known, audio)
        errors.attention += list(heard - truth)
        errors.characters += list(_by_characters(starts, audio) - truth)
        self._check_fit(pieces, spans, spoken, known)
        self._check_aligner([pieces[a:b] for a, b in spans], spoken, known, audio, heard)

    def _check_fit(
        self,
        pieces: Sequence[str],
        spans: Sequence[tuple[int, int]],
        spoken: Float[np.ndarray, " n"],
        known: Sequence[float],
    ) -> None:
        tempo = np.ones(len(pieces))
        for first, last in spans:
            tempo[first:last] = self._draw.uniform(*PACES)
        other, ends = self._teacher.speak(pieces, tempo)
        truth = [_start(pieces, ends, span) for span in spans]
        self.errors.fit += list(fitted(spoken, known, other) - truth)

    def _check_aligner(
        self,
        words: Sequence[Sequence[str]],
        spoken: Float[np.ndarray, " n"],
        known: Sequence[float],
        audio: Float[np.ndarray, " m"],
        heard: Float[np.ndarray, " words"],
    ) -> None:
        itself, model = self._aligner.starts(spoken, words), self._aligner.starts(audio, words)
        if itself is not None:
            self.errors.aligner_itself += list(np.array(itself) - known)
        if model is not None:
            self.errors.aligner += list(heard - model)
        self.errors.unaligned += model is None


def first_words(
    prompt: Prompt, words: Sequence[SpokenWord]
) -> list[tuple[tuple[int, int], SpokenWord]]:
    """The tokens of each word and when it was spoken; of words with the same tokens the first."""
    times = {word.first_character: word for word in words}
    found: dict[tuple[int, int], SpokenWord] = {}
    for word in prompt.words:
        if word.first_character in times:
            span = word.first_token, word.last_token
            found.setdefault(span, times[word.first_character])
    return list(found.items())


def _start(
    pieces: Sequence[str], ends: Float[np.ndarray, " tokens"], span: tuple[int, int]
) -> float:
    """Where the first phoneme of a word begins."""
    first = next(i for i in range(*span) if is_phoneme(pieces[i]))
    return float(ends[first - 1]) if first else 0.0


def _by_characters(
    starts: Sequence[tuple[tuple[int, int], SpokenWord]], audio: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " words"]:
    """The guess that every character takes as long as any other."""
    lengths = [len(word.text) + 1 for _, word in starts]
    passed = np.cumsum([0, *lengths[:-1]])
    return passed / sum(lengths) * len(audio) / SAMPLE_RATE


def held_out_sentences(path: Path) -> Iterator[str]:
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("held_out"):
                yield row["text"]


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--sentences", type=Path, required=True, help="JSONL file, also .gz")
    parser.add_argument("--count", type=int, default=200, help="sentences, from the first")
    parser.add_argument("--model", help="a folder; by default the embedded voice")
    parser.add_argument("--engine", default="auto", help="auto, jax or litert")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    judge = Judge(TTSModel.load_model(model=args.model, engine=args.engine), args.seed)
    for text in held_out_sentences(args.sentences):
        if judge.errors.sentences == args.count:
            break
        judge.add(text)
        if args.out:  # as far as it has come, for who cannot wait
            args.out.write_text(json.dumps(judge.errors.report(), indent=1) + "\n")
    print(json.dumps(judge.errors.report(), indent=1))


if __name__ == "__main__":
    run_command(main)
