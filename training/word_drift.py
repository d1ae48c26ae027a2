"""Whether word times drift in a long text with pauses, at several speeds.

    python -m training.word_drift --sentences data/sentences.jsonl --minutes 20 --model EXPORT

Speaks held-out sentences with pauses between them until so many minutes are full, as one text. At
each speed the first and the last ten words are found in the audio by the forced aligner of
`training.judging.aligner`, and both errors printed: with drift the last would be larger.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from sentencepiece import SentencePieceProcessor

from pocket_tts_jax import SpokenWord, TextOptions, TTSModel
from pocket_tts_jax.audio.stretch import TimeStretch
from pocket_tts_jax.text.prepare import Prompt
from training.judging.aligner import PhonemeAligner
from training.word_times import held_out_sentences

SPEEDS = (1.0, 0.8, 1.3)
WORDS = 10
PAUSES = (0.25, 0.7, 1.5)  # seconds, in turn
SECONDS_PER_CHARACTER = 0.06  # of the embedded voice


def long_text(sentences: Sequence[str], minutes: float) -> str:
    """Sentences with pauses between, over and over, for about so many minutes."""
    parts, seconds, i = [], 0.0, 0
    while seconds < 60 * minutes:
        pause = PAUSES[i % len(PAUSES)]
        parts.append(f"{sentences[i % len(sentences)]} [pause:{pause}]")
        seconds += pause + SECONDS_PER_CHARACTER * len(sentences[i % len(sentences)])
        i += 1
    return " ".join(parts)


class Drift:
    """Compares the times of a stretch of a long text with the aligner's."""

    def __init__(self, model: TTSModel) -> None:
        self._model, self._aligner = model, PhonemeAligner()
        self._pieces = SentencePieceProcessor(str(model.source.tokenizer))

    def errors(
        self,
        audio: Float[np.ndarray, " n"],
        words: Sequence[SpokenWord],
        prompts: Sequence[Prompt],
    ) -> list[float]:
        """Seconds from the aligner's starts to ours, for the words of some neighbouring chunks."""
        places = {word.first_character: word for word in words}
        spoken = [places[word.first_character] for prompt in prompts for word in prompt.words]
        rate = self._model.sample_rate
        # The audio between the pauses around: nothing else may be heard in it.
        first, last = max(0.0, spoken[0].start - 0.1), spoken[-1].end + 0.1
        tokens = [
            [self._pieces.id_to_piece(t) for t in p.ids[word.first_token : word.last_token]]
            for p in prompts
            for word in p.words
        ]
        found = self._aligner.starts(audio[round(first * rate) : round(last * rate)], tokens)
        if found is None:
            return []
        return [w.start - first - start for w, start in zip(spoken, found, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description="whether word times drift")
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--model", help="a folder; by default the embedded voice")
    parser.add_argument("--engine", default="auto")
    args = parser.parse_args()
    model = TTSModel.load_model(model=args.model, engine=args.engine)
    voice = model.get_state_for_audio_prompt(model.default_voice())
    text = long_text(list(held_out_sentences(args.sentences)), args.minutes)
    options = TextOptions(pauses=True)
    items = model.prompts(text, options=options, words=True)
    prompts = [item for item in items if isinstance(item, Prompt)]
    audio, words = model.generate_audio_with_times(voice, text, seed=0, text=options)
    drift = Drift(model)
    report: dict[str, Any] = {"minutes": round(len(audio) / model.sample_rate / 60, 1)}
    report |= {"words": len(words), "chunks": len(prompts)}
    for speed in SPEEDS:
        stretch = TimeStretch(speed, model.sample_rate)
        heard = np.concatenate([stretch.push(audio), stretch.finish()])
        times = [word.at_speed(speed) for word in words]
        for name, order in (("first", prompts), ("last", prompts[::-1])):
            errors: list[float] = []
            for prompt in order:
                if len(errors) < WORDS:
                    errors += drift.errors(heard, times, [prompt])
            milliseconds = np.array(errors[:WORDS]) * 1000
            report[f"{name} {WORDS} words at speed {speed}"] = {
                "mean": round(float(np.abs(milliseconds).mean()), 1),
                "median with sign": round(float(np.median(milliseconds)), 1),
            }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
