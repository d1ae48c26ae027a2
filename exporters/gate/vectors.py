"""`vectors.json` and `vectors.safetensors`: recorded runs for ports to other languages to replay.

`docs/contract.md` describes every field. `replay` runs the same through a folder and says how far
it is from the files.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from exporters.gate.difference import Difference
from exporters.gate.reference import noise_temperature
from pocket_tts_jax.generation.ending import EndOfSpeech, fade_in
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.generation.stream import SCHEDULE
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.folder import ExportFolder
from pocket_tts_jax.litert_engine.mimi import AT_ONCE
from pocket_tts_jax.text.numbers.normalize import normalize
from pocket_tts_jax.text.prepare import Prompt, TextRules, iter_chunks, make_prompt, prepare_text
from pocket_tts_jax.text.tokenizer import Tokenizer, load_tokenizer
from pocket_tts_jax.voice.state import VoiceState, read_voice

FILE, ARRAYS = "vectors.json", "vectors.safetensors"
TEXT = "Hello there, this is a test. It has two sentences."
TEXTS = (
    TEXT,
    "Yes",
    "wait; what, now:",
    '"He said so," she wrote; pi is 3.14. Then... (it ended)',
    "one two three four five six seven eight nine ten, " * 8,
    "Curly ‘quotes’ – and dashes — stay, or are replaced.\nLines end.",
)
OTHER_RULES = TextRules(
    pad_with_spaces_for_short_inputs=True, remove_semicolons=True, replace_characters={"“": ""}
)
NUMBERS = ("It cost $19.99 on May 3rd, 2024 at 3 pm.", "Dr. Who has 1,234 cats.")
SHORT = 20  # tokens, where chunks are also cut between words
SEED, LIMIT = 42, 40
# Another processor sums in another order, after which quantisation rounds some values differently.
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-3}
QUANTISED_TOLERANCE = 0.1
Arrays = dict[str, np.ndarray]


def write_vectors(engine: LiteRTEngine) -> None:
    """Record runs of `engine` in its folder."""
    described, arrays = _record(engine)
    folder = engine.folder.path
    (folder / FILE).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    (folder / ARRAYS).write_bytes(save(arrays))


def replay(engine: LiteRTEngine) -> dict[str, float]:
    """{part: largest relative difference} between new runs and the recorded ones."""
    recorded = json.loads(engine.folder.file(FILE).read_text(encoding="utf-8"))
    expected = load_file(engine.folder.file(ARRAYS))
    described, found = _record(engine)
    # How many frames there are may change with the last bits of a logit; arrays show how far.
    texts = {key: value for key, value in described.items() if key != "runs"}
    same = texts == {key: value for key, value in recorded.items() if key != "runs"}
    differences = {"texts": 0.0 if same else float("inf")}
    for name, array in expected.items():
        other = found.get(name, np.zeros(0, np.float32))
        together = min(len(array), len(other))
        far = abs(len(array) - len(other)) > 0.1 * len(array)
        difference = Difference.of(array[:together], other[:together]).relative
        differences[name] = float("inf") if far else difference
    return differences


def tolerance(precisions: str) -> float:
    """The largest relative difference of a replay from the recorded run."""
    return TOLERANCE.get(precisions, QUANTISED_TOLERANCE)


def _record(engine: LiteRTEngine) -> tuple[dict[str, Any], Arrays]:
    folder, config = engine.folder, engine.config
    kind, path = folder.tokenizer()
    tokenizer = load_tokenizer(kind, path, config.flow_lm.lookup_table.n_bins)
    rules, tail = TextRules.from_config(config), config.model_recommended_frames_after_eos
    arrays: Arrays = {}
    two_thirds = 2 * len(tokenizer.encode(TEXT)) // 3  # a chunk for each sentence
    prompts = _prompts(TEXT, tokenizer, rules, two_thirds)
    runs = [
        _run(engine, arrays, f"sentence {chunk}", chunk, list(prompt.ids), prompt)
        for chunk, prompt in enumerate(prompts)
    ]
    runs.append(_run(engine, arrays, "growth", 0, _long(engine, prompts[0].ids), None))
    temperature = noise_temperature(config)
    arrays["noise"] = noise(chunk_key(SEED, 3), 5, 4, config.latent_dim, temperature, 0.5)
    described = {
        "format_version": 2,
        "tolerance": tolerance(folder.precisions),
        "tokenizer": [_tokenized(text, tokenizer) for text in (*TEXTS, *NUMBERS)],
        "prepare": [_prepared(text, rule) for text in TEXTS for rule in (rules, OTHER_RULES)],
        "normalize": [_normalized(text, ascii) for text in NUMBERS for ascii in (False, True)],
        "texts": [
            {
                "text": text,
                "options": {"max_tokens": limit, "cut_at_words": limit == SHORT},
                "items": [
                    {
                        "text": prompt.text,
                        "ids": list(prompt.ids),
                        "max_frames": prompt.max_frames,
                        "frames_after_eos": prompt.frames_after_eos if tail is None else tail,
                    }
                    for prompt in _prompts(text, tokenizer, rules, limit, limit == SHORT)
                ],
            }
            for text in TEXTS
            for limit in (folder.settings.max_tokens, SHORT)
        ],
        "noise": {"seed": SEED, "chunk": 3, "first_frame": 5, "frames": 4}
        | {"temperature": temperature, "clamp": 0.5, "array": "noise"},
        "runs": runs,
    }
    return described, arrays


def _prompts(
    text: str, tokenizer: Tokenizer, rules: TextRules, max_tokens: int, cut_at_words: bool = False
) -> list[Prompt]:
    chunks = iter_chunks(text, tokenizer, rules, max_tokens, cut_at_words=cut_at_words)
    return [make_prompt(chunk, tokenizer, rules) for chunk in chunks]


def _tokenized(text: str, tokenizer: Tokenizer) -> dict[str, Any]:
    ids = tokenizer.encode(text)
    return {"text": text, "ids": ids, "decoded": tokenizer.decode(ids)}


def _prepared(text: str, rules: TextRules) -> dict[str, Any]:
    return {"text": text, "rules": asdict(rules), "prepared": prepare_text(text, rules).text}


def _normalized(text: str, ascii_only: bool) -> dict[str, Any]:
    spoken = normalize(text, "english", ascii_only=ascii_only)
    return {"text": text, "language": "en", "ascii_only": ascii_only, "normalized": spoken}


def _long(engine: LiteRTEngine, ids: tuple[int, ...]) -> list[int]:
    """As many tokens as leave room for two frames in the smallest caches that hold the voice."""
    _, voice = _voice(engine.folder)
    before = 0 if voice is None else voice.length
    capacity = next(c for c in engine.folder.capacities if c > before + 80)
    return [ids[i % len(ids)] for i in range(capacity - before - 2)]


def _voice(folder: ExportFolder) -> tuple[str | None, VoiceState | None]:
    """The first voice of the folder that leaves room in the smallest caches."""
    for name, path in folder.voices().items():
        voice = read_voice(Path(path), folder.config)
        if isinstance(voice, VoiceState) and voice.length <= folder.capacities[0] // 2:
            return name, voice
    return None, None


def _run(
    engine: LiteRTEngine,
    arrays: Arrays,
    name: str,
    chunk: int,
    ids: list[int],
    prompt: Prompt | None,
) -> dict[str, Any]:
    """One chunk; without a prompt a few steps, which nobody hears."""
    config, flow_steps = engine.config, engine.flow_steps[0]
    voice_name, voice = _voice(engine.folder)
    limit = 4 if prompt is None else min(LIMIT, prompt.max_frames)
    temperature = noise_temperature(config)
    draws = noise(chunk_key(SEED, chunk), 0, limit, config.latent_dim, temperature)
    session = engine.start(voice, Prompt("", tuple(ids), 0, limit), flow_steps)
    tail = config.model_recommended_frames_after_eos
    if tail is None:
        tail = 0 if prompt is None else prompt.frames_after_eos
    end, steps, spoken = EndOfSpeech(config.default_eos_threshold, tail), [], None
    for frame, draw in enumerate(draws):
        steps.append(session.step(draw))
        if prompt is not None and end.reached(frame, steps[-1].eos_logit):
            spoken = frame
            break
    spoken = len(steps) if spoken is None else spoken
    latents = np.stack([step.latent for step in steps])
    arrays[f"{name}/latents"] = latents
    arrays[f"{name}/eos_logits"] = np.array([step.eos_logit for step in steps], np.float32)
    arrays[f"{name}/attention"] = np.stack([step.attention for step in steps])
    calls = [] if prompt is None else _calls(spoken)
    if calls:
        decoder, begin, audio = engine.decoder(), 0, []
        for count in calls:
            audio.append(decoder.decode(latents[begin : begin + count]))
            begin += count
        arrays[f"{name}/audio"] = fade_in(np.concatenate(audio), config.mimi.sample_rate)
    return {
        "name": name,
        "voice": voice_name,
        "ids": ids,
        "seed": SEED,
        "chunk": chunk,
        "temperature": temperature,
        "flow_steps": flow_steps,
        "limit": limit,
        "frames": len(steps),
        "spoken": spoken,
        "eos_frame": end.eos_frame,
        "decoder_calls": calls,
    } | {
        key: f"{name}/{key}" if f"{name}/{key}" in arrays else None
        for key in ("latents", "eos_logits", "attention", "audio")
    }


def _calls(frames: int) -> list[int]:
    """How many frames each call of the decoder gets."""
    schedule, calls = [n for n in SCHEDULE if n <= AT_ONCE], []
    while left := frames - sum(calls):
        wanted = schedule[min(len(calls), len(schedule) - 1)]
        calls.append(max(n for n in schedule if n <= min(wanted, left)))
    return calls
