"""Words of texts and their times as the Python package finds them, for the Swift tests to compare
with."""

import base64
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import astuple, replace
from typing import Any

import numpy as np

from pocket_tts_jax.alignment.path import Path
from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.alignment.timer import WordTimer
from pocket_tts_jax.errors import TextError
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.text.traced import shares
from pocket_tts_jax.text.words import Word, word_spans
from pocket_tts_jax.tts_model import TTSModel
from tests.folders import GOLDEN

RATE, FRAME = 2400, 192
SPEECH: list[dict[str, Any]] = [
    {"text": "I saw 12 cats, and the ticket to St. Louis cost $19.99. Nobody knew why."},
    {"text": "“We’ve lost $5 million” — she said — on 3/4/2024 at 5 p.m.; he (Dr. Smith) nodded."},
    {
        "text": "Hello there, you two. [pause:0.5] He left by the train. <break time='1s'/> It was "
        "all over by 10:30."
    },
    {"text": "It took 42 minutes. Then 7 more. [pause:250ms] The end came at 10:45.", "speed": 0.8},
    {
        "text": "The quick brown fox jumps over the lazy dog. Then it sleeps for a while, dreams "
        "of rabbits and wakes up hungry! What would you do? I would get up early, walk to the "
        "market at 7:30 and buy 3 kg of apples, 2 loaves of bread and some cheese.",
        "speed": 1.3,
    },
    {
        "text": "A well-known ﬁx: visit example.com/page, or call 555-1234. 😀 Bye!",
        "max_tokens": 12,
    },
]
_GLUE = [" ", " ", ", ", ". ", " — ", "… ", "\n", ' "', '" ', " (", ") ", "--", "; ", "! ", "’s "]


def shared_cases() -> Iterator[list[Any]]:
    """Pairs of texts, and which part of one stands for which part of the other."""
    rng = random.Random(21)
    words = "The cats, dogs (and) 12 1984 $5 million nineteen eighty-four of The. end".split()
    for _ in range(400):
        old, new = (" ".join(rng.choices(words, k=rng.randrange(8))) for _ in range(2))
        yield [old, new, list(shares(old, new))]


def range_cases(texts: Iterable[str]) -> Iterator[list[Any]]:
    """Texts, and where their words are."""
    for text in texts:
        yield [text, word_spans(text)]


def path_cases() -> Iterator[dict[str, Any]]:
    """Random attention, and the places of its frames."""
    rng = np.random.default_rng(22)
    for _ in range(100):
        units, tokens = _units(rng)
        attention = _attention(rng, int(rng.integers(1, 40)), tokens)
        path, places = Path(units, tokens), []
        for frame in attention:
            places += path.push(frame)
        shape = {"units": units, "tokens": tokens, "heads": attention.shape[1]}
        yield shape | {"attention": floats(attention), "places": places + path.finish()}


def timer_cases() -> Iterator[dict[str, Any]]:
    """Chunks with random attention and sound, pauses between them, and the times of their words."""
    rng = np.random.default_rng(23)
    for _ in range(60):
        told: list[SpokenWord] = []
        pace = float(rng.choice([0.8, 1.0, 1.1]))
        timer, chunks, place = WordTimer(RATE, told.append, pace), [], 0
        for number in range(int(rng.integers(1, 4))):
            units, tokens = _units(rng)
            words = []
            for first, last in units:
                text = "abcdefghij"[: int(rng.integers(1, 10))]
                for _ in range(int(rng.random() < 0.2) + 1):  # some are spoken as one
                    words.append(Word(text, place, place + len(text), first, last))
                    place += len(text) + 1
            if words and rng.random() < 0.3:
                words[-1] = replace(words[-1], goes_on=True)
                place = words[-1].first_character
            attention = _attention(rng, int(rng.integers(1, 40)), tokens)
            audio = _audio(rng, len(attention))
            timer.begin(number, words, tokens)
            for frame, weights in zip(audio, attention, strict=True):
                timer.hear(frame, weights)
            timer.end()
            pause = int(rng.integers(0, 2) * rng.integers(0, 500))
            timer.pause(pause)
            shape = {"words": list(map(astuple, words)), "tokens": tokens, "pause": pause}
            sound = {"attention": floats(attention), "audio": floats(audio)}
            chunks.append(shape | sound | {"heads": attention.shape[1]})
        about = {"rate": RATE, "frame": FRAME, "pace": pace}
        yield about | {"chunks": chunks, "spoken": list(map(astuple, told))}


def prompt_cases(model: TTSModel, texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The words of each chunk of texts. Those that are refused are left out."""
    rng = random.Random(24)
    for text in [*texts, *_written(rng)]:
        if "\ufffd" in text:  # which the decoders take for a part of a character
            continue
        how: dict[str, Any] = {"normalize": rng.random() < 0.7, "pauses": rng.random() < 0.3}
        how |= {"plain_typography": rng.random() < 0.3, "cut_at_words": rng.random() < 0.3}
        limit = rng.choice([None, 12, 25])
        try:
            items = list(model.prompts(text, limit, TextOptions(**how), words=True))
        except TextError:
            continue
        prompts = [list(map(astuple, item.words)) for item in items if isinstance(item, Prompt)]
        yield {"text": text, "max_tokens": limit, "prompts": prompts} | how


def spoken_cases(model: TTSModel) -> Iterator[dict[str, Any]]:
    """Whole texts with pauses and at several speeds, and when each of their words is heard."""
    voice = model.get_state_for_audio_prompt(model.default_voice())
    for seed, case in enumerate(SPEECH):
        case = {"speed": 1.0, "max_tokens": None, "seed": seed} | case
        _, words = model.generate_audio_with_times(
            voice,
            case["text"],
            case["max_tokens"],
            seed=seed,
            text=TextOptions(pauses=True, plain_typography=True),
        )
        yield case | {"words": [astuple(word.at_speed(case["speed"])) for word in words]}


def _written(rng: random.Random) -> Iterator[str]:
    """Texts with many numbers, signs and marks."""
    golden = json.loads((GOLDEN / "normalize.json").read_text(encoding="utf-8"))["english"]
    for _ in range(250):
        parts = rng.choices(list(golden), k=rng.randrange(1, 4))
        yield "".join(part + rng.choice(_GLUE) for part in parts)


def _units(rng: np.random.Generator) -> tuple[list[tuple[int, int]], int]:
    """Token ranges of words with some tokens between them, and the number of tokens."""
    units, end = [], 0
    for _ in range(int(rng.integers(0, 9))):
        start = end + int(rng.integers(0, 3) == 0)
        end = start + int(rng.integers(1, 4))
        units.append((start, end))
    return units, max(end + int(rng.integers(0, 2)), 1)


def _attention(rng: np.random.Generator, frames: int, tokens: int) -> np.ndarray:
    """[frames, heads, tokens]: a way through the tokens, with noise and frames of nothing."""
    heads = int(rng.integers(1, 4))
    way = np.sort(rng.uniform(0, tokens, frames))[:, None, None]
    near = np.exp(-2 * (np.arange(tokens) + 0.5 - way) ** 2)
    weights = near * rng.uniform(0, 0.5, (frames, heads, 1)) + rng.uniform(
        0, 0.1, (1, heads, tokens)
    )
    return (weights * (rng.random((frames, 1, 1)) > 0.05)).astype(np.float32)


def _audio(rng: np.random.Generator, frames: int) -> np.ndarray:
    """[frames, samples], in which every third frame or so is quiet."""
    level = np.where(rng.random((frames, 4)) < 0.3, 1e-4, 0.2).repeat(FRAME // 4, axis=1)
    return (level * rng.standard_normal((frames, FRAME))).astype(np.float32)


def floats(values: np.ndarray) -> str:
    """As base64 of float32, in the order of C."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()
