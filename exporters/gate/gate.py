"""The gate: the checks that an export must pass before its folder appears.

1. The files: builtin operations, static shapes, weights of the precision's bits, states with the
   same shapes as inputs and outputs, and at least 95 % of the nodes in XNNPACK.
2. The functions: the exported graphs, run in JAX, against the model itself.
3. The numbers: every signature of every file, every output and state: FlowLM against the model,
   over 50 steps after a voice and a text and some steps in the last slot; Mimi against its
   functions, over 48 frames.
"""

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporters.convert.quantize import (
    WIDE_CONVOLUTIONS,
    Decoder,
    Precision,
    bits_of,
    precision_of,
    recipe_of,
)
from exporters.gate import against_model
from exporters.gate import inspect_file as flatbuffer
from exporters.gate.against_file import IN_LAST_SLOT, Chain, FreeRun, run_flow_lm, run_mimi_file
from exporters.gate.difference import Difference
from exporters.gate.reference import Model, make_reference
from exporters.graph.signature import Signature
from pocket_tts_jax.config import Config
from pocket_tts_jax.generation.ending import FRAMES_BEFORE_EOS
from pocket_tts_jax.litert_engine.packed_weights import IN_MEMORY
from pocket_tts_jax.litert_engine.runtime import LiteRTModel
from pocket_tts_jax.weights.source import ModelSource

# In float32: XLA and XNNPACK sum in another order, which makes a difference of about 1e-6.
FP32_RELATIVE = 1e-4
# A row's result must not depend on other rows, nor on its place in the batch.
PLACES_RELATIVE = 0.0
DELEGATED = 0.95
TRANSFORMER = ("attention", "feed_forward")  # scopes
LOOK_UP = "embed_text"
THREADS = 2


@dataclass(frozen=True)
class Limits:
    """The lowest signal-to-noise ratios against fp32, in dB, and the lowest share of equal EOS
    decisions. `inputs_db` is for embeddings and the latents of Mimi's encoder. `last_slot_db` is
    how much less is asked of latents and states in the last slot of a cache, behind a history that
    was never spoken: of latents the median draw counts (the embedded voice, caches of 320: 25.1 dB
    in int8, 14.3 dB in mixed, 4.9 dB in int4)."""

    latents_db: float
    states_db: float
    eos_agreement: float
    last_slot_db: float = 0.0
    inputs_db: float = 25
    attention_db: float = 5
    audio_db: float = 30


# Each limit lies about 2 dB or more below what was measured, in the chains of steps behind a text.
# Gaussian weights of the size of english_2026-10: latents 33, 19 and 15 dB (int8, mixed, int4), the
# rows of the last layer 31, 14 and 10 dB, audio 41 dB; with 24 layers (int8) no rows below 31 dB.
# The embedded voice at its lowest: latents 31.6, 17.2 and 12.5 dB (the head run three or four
# times), rows 29.9, 12.9 and 9.8 dB, audio 38.7 dB; an earlier one, speaking so, was misheard in
# 7.0, 9.0 and 11.3 % of its words (`training.evaluate --what engine --count 80`). A part that is
# computed wrongly measured 8 dB. EOS may move where its logit passes the threshold, not often.
LIMITS: dict[Precision, Limits] = {
    "fp16": Limits(
        latents_db=45, states_db=45, eos_agreement=1.0, inputs_db=45, attention_db=30, audio_db=45
    ),
    "int8": Limits(latents_db=25, states_db=27, eos_agreement=0.98, last_slot_db=2.5),
    "mixed": Limits(latents_db=15, states_db=11, eos_agreement=0.96, last_slot_db=6),
    "int4": Limits(latents_db=10.5, states_db=8, eos_agreement=0.94, last_slot_db=8),
}
# Speech has no direct current and seldom touches full scale; a wrong scale or sign adds both.
LARGEST_MEAN = 0.2
LARGEST_CLIPPED = 0.01


@dataclass(frozen=True)
class Check:
    """One line of the report. Without a limit it is information."""

    where: str
    what: str
    value: float
    limit: float | None
    passed: bool


@dataclass(frozen=True)
class Part:
    """One file of an export, and the functions it holds."""

    file: str
    signatures: list[Signature]


def validate(
    folder: Path,
    parts: list[Part],
    tensors: Any,
    source: ModelSource,
    precision: Precision,
    decoder: Decoder = "fp32",
) -> list[Check]:
    """Every check of every part; the export passes if each `passed`."""

    def check(part: Part) -> list[Check]:
        return _check_part(folder, part, tensors, source, precision, decoder)

    # What XLA compiles, what LiteRT runs and what is inspected leave each other idle processors.
    return_freed_memory()
    with ThreadPoolExecutor(len(parts)) as pool:
        return [check for checks in pool.map(check, parts) for check in checks]


def _check_part(
    folder: Path,
    part: Part,
    tensors: Any,
    source: ModelSource,
    precision: Precision,
    decoder: Decoder,
) -> list[Check]:
    path = folder / part.file
    shapes = {
        s.name: ([(t.name, t.shape) for t in s.inputs], [(t.name, t.shape) for t in s.outputs])
        for s in part.signatures
    }
    compare = _compare_flow_lm if part.file.startswith("flow_lm") else _compare_mimi
    with ThreadPoolExecutor(2) as pool:
        shape = pool.submit(check_shape, path, shapes, precision, decoder)
        with closing(LiteRTModel(path, threads=THREADS, weight_cache=IN_MEMORY)) as model:
            functions, chains = compare(model, part, tensors, source, folder, pool)
        return_freed_memory()
        checks = shape.result() + list(map(_judge_function, functions))
    limits = precision_of(part.file, precision, decoder)
    for chain in chains:
        checks += _judge(part.file, chain, source.config, limits)
    return checks


def return_freed_memory() -> None:
    """Give the system what is free: glibc keeps it, separately for each thread that used it."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


Compared = tuple[list[against_model.Row], list[Chain]]


def _compare_flow_lm(
    file: LiteRTModel,
    part: Part,
    tensors: Any,
    source: ModelSource,
    folder: Path,
    pool: ThreadPoolExecutor,
) -> Compared:
    model = Model(tensors, source)
    slots = {t.shape[2] for s in part.signatures for t in s.inputs if t.name == "k_0"}
    reference = make_reference(model, source, folder / "voices", sorted(slots))
    model.drop_layers()
    return_freed_memory()
    functions = pool.submit(
        lambda: list(against_model.check_flow_lm(part.signatures, model, reference))
    )
    chains = list(run_flow_lm(file, part.signatures, model, reference))
    return functions.result(), chains


def _compare_mimi(
    file: LiteRTModel,
    part: Part,
    tensors: Any,
    source: ModelSource,
    _: Path,
    pool: ThreadPoolExecutor,
) -> Compared:
    config, largest = source.config, max(part.signatures, key=lambda s: s.inputs[0].shape[1])
    is_decoder = largest.inputs[0].name == "latents"
    check = against_model.check_decoder if is_decoder else against_model.check_encoder
    outputs = against_model.run_mimi(largest, config)
    functions = pool.submit(lambda: list(check(largest, outputs, tensors, config)))
    chains = [run_mimi_file(file, s, outputs, config) for s in part.signatures]
    return functions.result(), chains


def _judge_function(row: against_model.Row) -> Check:
    (name, output, value), limit = row, against_model.RELATIVE
    what = f"{output}: relative to the model"
    return Check(f"function {name}", what, value, limit, value <= limit)


Shapes = dict[str, tuple[list[tuple[str, tuple[int, ...]]], ...]]


def check_shape(
    path: Path, expected: Shapes, precision: Precision, decoder: Decoder = "fp32"
) -> list[Check]:
    """Check operations, weights, delegation, and the inputs and outputs of the signatures.

    `expected` is {signature: ([(input, shape), …], [(output, shape), …])}.
    """
    facts, name = flatbuffer.inspect(path), path.name
    found = {
        key: ([(t.name, t.shape) for t in s.inputs], [(t.name, t.shape) for t in s.outputs])
        for key, s in flatbuffer.signatures(path).items()
    }
    rules = recipe_of(name, precision, decoder)
    wrong = [product for product, bits in facts.products if bits != bits_of(product, rules)]
    # Every file has a transformer. If names were lost, no rule would apply to their products.
    scopes = {*TRANSFORMER, *(rule.scope for rule in rules if rule in WIDE_CONVOLUTIONS)}
    unnamed = [s for s in scopes if not any(s in product for product, _ in facts.products)]
    mismatched = [key for key in expected if not _same(expected[key], found.get(key))]
    nodes = flatbuffer.undelegated(path)
    # Each function by itself; XNNPACK has no look-up of embeddings.
    share = min(1 - len(left) / n for key, (n, left) in nodes.items() if LOOK_UP not in key)
    return [
        Check(name, "operations that are not builtin", len(facts.foreign), 0, not facts.foreign),
        Check(name, "tensors of unknown shape", facts.dynamic, 0, facts.dynamic == 0),
        Check(name, "products of other bits than the recipe's", len(wrong), 0, not wrong),
        Check(name, "scopes that no product has", len(unnamed), 0, not unnamed),
        Check(name, "signatures unlike the contract", len(mismatched), 0, not mismatched),
        Check(name, "least share of nodes in XNNPACK", share, DELEGATED, share >= DELEGATED),
    ]


def _same(expected: Any, found: Any) -> bool:
    return found is not None and all(
        dict(a) == dict(b) and len(a) == len(b) for a, b in zip(expected, found, strict=True)
    )


def _judge(file: str, chain: Chain, config: Config, precision: Precision) -> list[Check]:
    where = f"{file}:{chain.signature}"
    checks = [
        Check(where, "outputs that are not finite", float(not d.finite), 0, d.finite)
        for d in [_worst(chain)]
    ]
    if precision == "fp32":
        for name, difference in chain.outputs.items():
            value = difference.relative
            passed = value <= FP32_RELATIVE
            checks.append(Check(where, f"{name}: relative", value, FP32_RELATIVE, passed))
    else:
        checks += _judge_quantised(where, chain, LIMITS[precision])
    if chain.eos_logits[0]:
        checks.append(_judge_eos(where, chain, config, precision))
    if chain.free is not None:
        checks += _describe_free_run(where, chain.free, config)
    if chain.places is not None:
        value = chain.places.relative
        what = "rows of a batch that were given the same: relative"
        checks.append(Check(where, what, value, PLACES_RELATIVE, value <= PLACES_RELATIVE))
    if chain.audio is not None:
        checks += _judge_audio(where, *chain.audio)
    return checks


def _worst(chain: Chain) -> Difference:
    return min(chain.outputs.values(), key=lambda d: d.finite)


def _judge_quantised(where: str, chain: Chain, limits: Limits) -> list[Check]:
    wanted = {"next_latent": limits.latents_db, "audio": limits.audio_db}
    wanted["attention"] = limits.attention_db
    wanted |= dict.fromkeys(("embeddings", "latents"), limits.inputs_db)
    checks = []
    for name, difference in chain.outputs.items():
        output = name.removesuffix(IN_LAST_SLOT)
        limit = wanted.get(output, limits.states_db)
        limit -= limits.last_slot_db if name.endswith(IN_LAST_SLOT) else 0
        value = difference.snr_db
        # A state may be zero on both sides; the EOS logit has its own check.
        nothing = difference.signal == difference.noise == 0
        passed = value >= limit or nothing
        if output != "eos_logit":
            checks.append(Check(where, f"{name}: SNR dB", value, limit, passed))
    return checks


def _judge_eos(where: str, chain: Chain, config: Config, precision: Precision) -> Check:
    threshold = config.default_eos_threshold
    # [rows, steps]; the last step is another text's
    ended, found = (np.concatenate(side[:-1], axis=1) > threshold for side in chain.eos_logits)
    if precision == "fp32":
        moved = _eos_moved(ended, found)
        return Check(where, "frames by which EOS moved", moved, 0, moved == 0)
    agreement = float(np.mean(ended == found))
    limit = LIMITS[precision].eos_agreement
    return Check(where, "EOS decisions that agree", agreement, limit, agreement >= limit)


def _describe_free_run(where: str, run: FreeRun, config: Config) -> list[Check]:
    """How far speech stays together when nothing leads it back. It need not: two speakers of one
    text do not either."""
    expected, found = (np.asarray(side, np.float64).ravel() for side in run.latents)
    ended, ended_found = (side > config.default_eos_threshold for side in run.eos_logits)
    values = {
        "frames": float(ended.size),
        "correlation of latents": float(np.corrcoef(expected, found)[0, 1]),
        "EOS decisions that agree": float(np.mean(ended == ended_found)),
        "most frames by which EOS moved": float(_eos_moved(ended, ended_found)),
    }
    return [Check(where, f"free running: {n}", v, None, True) for n, v in values.items()]


def _eos_moved(expected: np.ndarray, found: np.ndarray) -> int:
    """The most frames by which speech ends sooner or later, of [rows, frames] decisions."""
    return max(
        abs(_first(a[FRAMES_BEFORE_EOS:]) - _first(b[FRAMES_BEFORE_EOS:]))
        for a, b in zip(expected, found, strict=True)
    )


def _first(ended: np.ndarray) -> int:
    return int(np.argmax(ended)) if ended.any() else ended.size


def _judge_audio(where: str, reference: np.ndarray, found: np.ndarray) -> list[Check]:
    """The mean and the clipping of the audio that the export adds to the model's."""
    mean = float(abs(found.mean() - reference.mean()))
    clipped = float(np.mean(np.abs(found) >= 1) - np.mean(np.abs(reference) >= 1))
    return [
        Check(where, "audio: added mean", mean, LARGEST_MEAN, mean <= LARGEST_MEAN),
        Check(where, "audio: added clipping", clipped, LARGEST_CLIPPED, clipped <= LARGEST_CLIPPED),
    ]
