"""What the Python package makes of many inputs, for the Swift tests to compare with.

    python -m tests.swift.fixtures FOLDER EXPORT...

writes one file for each subject into FOLDER. The inputs are drawn with fixed seeds. EXPORT is a
folder that `python -m exporters.tflite` wrote; its speech is recorded.
"""

import itertools
import json
import logging
import random
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tokenizer import write_tokenizer
from pocket_tts_jax.audio.stretch import time_stretch
from pocket_tts_jax.audio.timbre import Timbre, shift_timbre
from pocket_tts_jax.audio.write import to_int16
from pocket_tts_jax.errors import TextError
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.text.chunks import cut
from pocket_tts_jax.text.numbers.normalize import normalize
from pocket_tts_jax.text.pauses import Pause, split_pauses
from pocket_tts_jax.text.prepare import TextRules, split_text
from pocket_tts_jax.text.tokenizer import Tokenizer, load_tokenizer
from pocket_tts_jax.text.typography import fold_typography
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.recording import prepare_prompt
from tests.folders import GOLDEN, ROOT, SHARED
from tests.swift import word_cases
from tests.swift.word_cases import floats

STRINGS, SPANS = 10_000, 2000
TOKENIZERS = {
    "words.model": ("sentencepiece", GOLDEN / "words.model"),
    "words.json": ("tokenizers", GOLDEN / "words.json"),
    "marked.json": ("tokenizers", GOLDEN / "marked.json"),
    "embedded": ("sentencepiece", ROOT / "pocket_tts_jax" / "embedded" / "tokenizer.model"),
    "english": ("tokenizers", SHARED / "data" / "english_tokenizer.json"),
}
SIZES = {"embedded": 80, "english": 4000, "spaced": 700}
SIGNS = [*".!?…,;:-–—\"'”’)]»(«“ \n\r\t", "  ", "...", "3.14", "Hi. ", " and ", "<s>", "<unk>", "▁"]
ODD = [
    "é",
    "ß",
    "日",
    "٣",
    "²",
    "😀",
    "\u00a0",
    "\u0301",
    "\ufffd",
    "\x00",
    "<0x41>",
    "ﬁ",
    "\u2028",
]
TIMBRES = (
    Timbre(2.1, 1.16),
    Timbre(0.85, 0.86),
    Timbre(1.0, 3.0),
    Timbre(0.5, 1.0),
    Timbre(1.0, 1.0, 1.3),
    Timbre(1.2, 1.1, 0.6),
)
TEXTS = (
    "Hello there, this is a test. It has two sentences.",
    "On March 3rd, 2024, it cost $19.99 at 5 p.m. in St. Louis; nobody knew why.",
    "Yes.",
    "The quick brown fox jumps over the lazy dog. Then it sleeps for a while, dreams of rabbits "
    "and wakes up hungry! What would you do? I would get up early and walk to the market.",
)
WORDS = (
    "the a time house Dr. Smith went to see 3 4.5 $20 and we'll go, then stop. Why? No! It".split()
)


def main(folder: Path, exports: list[Path]) -> None:
    logging.disable(logging.WARNING)  # of chunks that are too long, which is meant
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, value: Any) -> None:
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")

    spaced = folder / "spaced.json"
    write_tokenizer(spaced, SIZES["spaced"])
    places = TOKENIZERS | {"spaced": ("tokenizers", spaced)}
    # One of them is no part of the repository.
    there = {name: place for name, place in places.items() if place[1].is_file()}
    write("tokenizers", [_tokenizer_cases(name, *there[name]) for name in sorted(there)])
    write("english", list(_english_cases()))
    write("typography", _pairs(fold_typography, _texts(3, 1000)))
    write("pauses", _pairs(_segments, _pause_texts(1000)))
    write("chunks", list(_chunk_cases(400)))
    write("streams", list(_stream_cases(400)))
    write("noise", list(_noise_cases()))
    write("audio", _audio_cases())
    write("speech", [_speech(export) for export in exports])
    write("words", _words(exports))


def _tokenizer(name: str) -> Tokenizer:
    return load_tokenizer(*TOKENIZERS[name], SIZES.get(name, 600))


def _texts(seed: int, count: int) -> Iterator[str]:
    """Random text with far more marks, spaces and odd letters than a uniform draw would have."""
    rng = random.Random(seed)
    golden = json.loads((GOLDEN / "texts.json").read_text(encoding="utf-8"))
    sentences = [text for group in golden.values() for text in group if text]
    for _ in range(count):
        pieces = []
        for _ in range(rng.randrange(1, 9)):
            kind = rng.random()
            if kind < 0.3:
                pieces.append(rng.choice(SIGNS))
            elif kind < 0.4:
                pieces.append(rng.choice(ODD))
            elif kind < 0.6:
                pieces.append(" " + rng.choice(WORDS))
            elif kind < 0.7:
                text = rng.choice(sentences)
                start = rng.randrange(len(text))
                pieces.append(text[start : start + rng.randrange(12)])
            else:
                pieces.append("".join(_character(rng) for _ in range(rng.randrange(4))))
        yield "".join(pieces)


def _character(rng: random.Random) -> str:
    limit = rng.choice([0x80, 0x250, 0x3000, 0x10000, 0x110000])
    character = chr(rng.randrange(limit))
    # Halves of pairs are no characters; what Python's Unicode does not know yet, others may.
    return " " if unicodedata.category(character) in ("Cs", "Cn") else character


def _tokenizer_cases(name: str, kind: str, path: Path) -> dict[str, Any]:
    tokenizer = load_tokenizer(kind, path, SIZES.get(name, 600))
    cases, rng = [], random.Random(name)
    for text in _texts(1, STRINGS):
        ids = tokenizer.encode(text)
        part = ids[rng.randrange(len(ids) + 1) :]  # cuts through characters spelled in bytes
        cases.append([text, ids, part, tokenizer.decode(part)])
    spans = [
        [text, tokenizer.spans(text), [piece.strip() for piece in tokenizer.pieces(text)]]
        for text in itertools.islice(_texts(10, 2 * SPANS), SPANS)
    ]
    return {"name": name, "kind": kind, "path": str(path), "cases": cases, "spans": spans}


def _english_cases() -> Iterator[list[Any]]:
    golden = json.loads((GOLDEN / "normalize.json").read_text(encoding="utf-8"))["english"]
    rng, known = random.Random(2), list(golden)
    signs = [
        *"$€£%°#@&+-/:.,;'\"()[]*_^~<>=²½٣日é😀 \n",
        " ",
        "St.",
        "Dr. ",
        "5 p.m.",
        "No.",
        "J. ",
    ]
    texts = [*known, *TEXTS]
    for _ in range(3000):
        count = rng.randrange(1, 6)
        texts.append(
            "".join(rng.choice((rng.choice(known), rng.choice(signs))) for _ in range(count))
        )
    texts += _texts(4, 1000)
    for text in texts:
        yield [text, normalize(text), normalize(text, ascii_only=True)]


def _pairs(function: Callable[[str], Any], texts: Iterator[str]) -> list[list[Any]]:
    found = []
    for text in texts:
        try:
            found.append([text, function(text)])
        except TextError:
            found.append([text, None])
    return found


def _pause_texts(count: int) -> Iterator[str]:
    rng = random.Random(5)
    marks = [
        "[pause:0.5]",
        "[pause:500ms]",
        "[pause: 20]",
        '<break time="1s"/>',
        "[pause:x]",
        "<b>",
    ]
    marks += [
        "<break time='250 ms' />",
        "<break/>",
        "[PAUSE:.25s]",
        "[pause",
        "[pauses:1]",
        "<br >",
    ]
    texts = _texts(6, count)
    for text in texts:
        yield text + rng.choice(marks) + next(texts, "end") + rng.choice(["", rng.choice(marks)])


def _segments(text: str) -> list[Any]:
    return [s.seconds if isinstance(s, Pause) else s for s in split_pauses(text)]


def _chunk_cases(count: int) -> Iterator[dict[str, Any]]:
    """The two ways of cutting that the reference does not have."""
    rng = random.Random(7)
    for _ in range(count):
        name = rng.choice(["words.model", "marked.json"])
        tokenizer, limit = _tokenizer(name), rng.randrange(4, 40)
        text = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 60)))
        how = {"cut_at_words": rng.random() < 0.5, "glue_short": rng.random() < 0.7}
        chunks = list(cut(tokenizer.encode(text), tokenizer, limit, **how))
        yield {"text": text, "tokenizer": name, "max_tokens": limit, "chunks": chunks} | how


def _stream_cases(count: int) -> Iterator[dict[str, Any]]:
    """Texts in pieces, and the chunks of the whole."""
    rng = random.Random(8)
    for _ in range(count):
        name, limit = rng.choice(["words.model", "words.json"]), rng.randrange(8, 50)
        text = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 80)))
        chunks = split_text(text, _tokenizer(name), TextRules(), limit)
        pieces = []
        while text:
            size = rng.randrange(1, 30)
            pieces.append(text[:size])
            text = text[size:]
        yield {"tokenizer": name, "max_tokens": limit, "pieces": pieces, "chunks": chunks}


def _noise_cases() -> Iterator[dict[str, Any]]:
    for seed, chunk, frame, temperature, clamp in [
        (42, 3, 0, 0.3, None),
        (42, 3, 0, 0.3, 0.5),
        (2**64 - 1, 0, 1000, 0.7, 1.2),
        (7, 2**32 - 1, 5, 1.0, None),
        (0, 0, 0, 0.0, None),
    ]:
        values = noise(chunk_key(seed, chunk), frame, 64, 32, temperature, clamp)
        yield {
            "seed": str(seed),
            "chunk": chunk,
            "frame": frame,
            "temperature": temperature,
            "clamp": clamp,
            "values": floats(values),
        }


def _audio_cases() -> dict[str, Any]:
    rng = np.random.default_rng(9)
    time = np.arange(30_000) / 24_000
    voice = np.sin(2 * np.pi * (120 + 20 * np.sin(3 * time)) * time) * np.sin(5 * time) ** 2
    samples = (0.6 * voice + 0.02 * rng.standard_normal(time.size)).astype(np.float32)
    loud = np.concatenate([samples[:500] * 3, [1.0, -1.0, 0.0]]).astype(np.float32)
    prompt, _ = prepare_prompt(samples, 24_000, truncate=True)
    return {
        "samples": floats(samples),
        "stretched": {
            str(speed): floats(time_stretch(samples, speed)) for speed in (0.5, 0.8, 1.25, 2.0)
        },
        "shifted": [
            {
                "pitch": timbre.pitch,
                "formants": timbre.formants,
                "pace": timbre.pace,
                "audio": floats(shift_timbre(samples, timbre)),
            }
            for timbre in TIMBRES
        ],
        "prompt": floats(prompt),
        "loud": floats(loud),
        "pcm": to_int16(loud).tolist(),
    }


def _speech(export: Path) -> dict[str, Any]:
    """Whole texts, at one seed each, with the model's noise and with more; one by every voice."""
    texts = []
    for temperature in (None, 0.5):
        model = TTSModel.load_model(model=export, engine="litert", temp=temperature)
        name = model.default_voice()
        voice = model.get_state_for_audio_prompt(name)
        for seed, text in enumerate(TEXTS):
            audio = model.generate_audio(voice, text, seed=seed)
            case = {"text": text, "voice": name, "seed": seed, "temperature": temperature}
            texts.append(case | {"audio": floats(audio)})
    model = TTSModel.load_model(model=export, engine="litert")
    for name in model.voice_names():
        voice = model.get_state_for_audio_prompt(name)
        case = {"text": TEXTS[0], "voice": name, "seed": 9, "temperature": None}
        texts.append(case | {"audio": floats(model.generate_audio(voice, TEXTS[0], seed=9))})
    return {"folder": str(export), "texts": texts}


def _words(exports: list[Path]) -> dict[str, Any]:
    models = [TTSModel.load_model(model=export, engine="litert") for export in exports]
    return {
        "shares": list(word_cases.shared_cases()),
        "ranges": list(word_cases.range_cases(_texts(11, 1000))),
        "paths": list(word_cases.path_cases()),
        "timers": list(word_cases.timer_cases()),
        "exports": [
            {
                "folder": str(export),
                "prompts": list(word_cases.prompt_cases(model, _texts(12, 150))),
                "spoken": list(word_cases.spoken_cases(model)),
            }
            for export, model in zip(exports, models, strict=True)
        ],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(export) for export in sys.argv[2:]])
