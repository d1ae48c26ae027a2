"""`vectors.json`: one short run, number by number, for ports to other languages to replay.

Text → chunks → token ids → the first steps without a voice → samples. `replay` repeats the run and
returns its differences from the file.
"""

import json
from typing import Any

import numpy as np

from exporters.gate.difference import Difference
from exporters.gate.reference import noise_temperature
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.text.prepare import TextRules, iter_chunks, make_prompt
from pocket_tts_jax.text.tokenizer import load_tokenizer

FILE = "vectors.json"
TEXT = "Hello there, this is a test. It has two sentences."
SEED, STEPS = 42, 8
# Another processor sums in another order, after which quantisation rounds some values differently.
TOLERANCE = {"fp32": 1e-4, "fp16": 1e-3}
QUANTISED_TOLERANCE = 0.1


def write_vectors(engine: LiteRTEngine, max_tokens: int) -> None:
    """Record a run of `engine` in its folder."""
    path = engine.folder.path / FILE
    path.write_text(json.dumps(_record(engine, max_tokens), indent=1) + "\n", encoding="utf-8")


def replay(engine: LiteRTEngine) -> dict[str, float]:
    """{part: largest relative difference} between a new run and the recorded one."""
    path = engine.folder.file(FILE)
    recorded = json.loads(path.read_text(encoding="utf-8"))
    found = _record(engine, recorded["max_tokens"])
    differences = {"chunks": 0.0 if recorded["chunks"] == found["chunks"] else float("inf")}
    for key in ("noise", "latents", "eos_logits", "audio"):
        difference = Difference()
        difference.add(np.array(recorded[key]), np.array(found[key]))
        differences[key] = difference.relative
    return differences


def tolerance(precision: str) -> float:
    """The largest relative difference of a replay from the recorded run."""
    return TOLERANCE.get(precision, QUANTISED_TOLERANCE)


def _record(engine: LiteRTEngine, max_tokens: int) -> dict[str, Any]:
    config, (kind, path) = engine.config, engine.folder.tokenizer()
    tokenizer = load_tokenizer(kind, path, config.flow_lm.lookup_table.n_bins)
    rules = TextRules.from_config(config)
    chunks = list(iter_chunks(TEXT, tokenizer, rules, max_tokens))
    prompts = [make_prompt(chunk, tokenizer, rules) for chunk in chunks]
    temperature = noise_temperature(config)
    draws = noise(chunk_key(SEED, 0), 0, STEPS, engine.config.latent_dim, temperature)
    flow_steps, tail = engine.flow_steps[0], config.model_recommended_frames_after_eos
    session = engine.start(None, prompts[0], flow_steps)
    steps = [session.step(draw) for draw in draws]
    latents = np.stack([step.latent for step in steps])
    audio = engine.decoder().decode(latents)
    return {
        "text": TEXT,
        "max_tokens": max_tokens,
        "chunks": [
            {
                "text": prompt.text,
                "token_ids": list(prompt.ids),
                "frames_after_eos": prompt.frames_after_eos if tail is None else tail,
                "max_frames": prompt.max_frames,
            }
            for prompt in prompts
        ],
        "seed": SEED,
        "temperature": temperature,
        "flow_steps": flow_steps,
        "first_latent": np.asarray(engine.flow_lm.bos).tolist(),
        "noise": draws.tolist(),
        "latents": latents.tolist(),
        "eos_logits": [step.eos_logit for step in steps],
        "audio": audio.tolist(),
    }
