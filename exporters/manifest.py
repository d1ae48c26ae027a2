"""Writes `manifest.json`, which describes an exported folder to apps and the LiteRT engine.

`docs/contract.md` describes every field.
"""

import importlib.metadata
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exporters.graph.fold import Tree, flow_steps
from exporters.graph.signature import Signature, Tensor
from exporters.graph.signatures import capacities
from pocket_tts_jax.files.verify import SUMS, digest_of, write_sums
from pocket_tts_jax.generation.ending import FADE_IN_SECONDS, FRAMES_BEFORE_EOS
from pocket_tts_jax.generation.stream import SCHEDULE
from pocket_tts_jax.litert_engine.folder import FORMAT, FORMAT_VERSION, MANIFEST
from pocket_tts_jax.litert_engine.mimi import AT_ONCE
from pocket_tts_jax.model.flow_lm import head_shape
from pocket_tts_jax.text import prepare
from pocket_tts_jax.text.pipeline import has_own_letters, language_of
from pocket_tts_jax.text.prepare import TextRules
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.weights.source import ModelSource

CONVERTERS = ("jax", "flax", "litert-converter", "ai-edge-quantizer", "ai-edge-litert")


def write_manifest(
    folder: Path,
    source: ModelSource,
    *,
    precision: str,
    decoder: str,
    route: str,
    licence: str,
    fingerprint: str,
    parameters: int,
    capacity: int,
    batches: tuple[int, ...],
    weights: Tree,
    signatures: dict[str, list[Signature]],
) -> None:
    """Describe every file in `folder`, and the constants that a caller needs besides the graphs."""
    start = weights["voice_start"]
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": source.name,
        "precision": precision,
        "decoder": decoder,
        "licence": licence,
        "fingerprint": fingerprint,
        "parameters": parameters,
        "notice": source.settings.notice,
        "config": "config.yaml",
        "languages": [language_of(source)],
        "voices": _voices(folder, source),
        **_text(source),
        "audio": _audio(source),
        "generation": _generation(source),
        "cache": _cache(source, capacity),
        "alignment": {
            "heads": list(map(list, source.alignment.heads)),
            "source": source.alignment.source,
        },
        "batch": list(batches),
        "constants": {
            "bos": weights["bos"].tolist(),
            "voice_start": None if start is None else start.tolist(),
        },
        "signatures": {
            file: {s.name: describe_signature(s) for s in entries}
            for file, entries in signatures.items()
        },
        "converter": {"route": route} | {n: importlib.metadata.version(n) for n in CONVERTERS},
        "files": describe_files(folder),
    }
    _write(folder, manifest)


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    """The manifest, whose own checksum is in `SHA256SUMS`."""
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    write_sums(folder, {MANIFEST: digest_of(folder / MANIFEST)})


def _voices(folder: Path, source: ModelSource) -> dict[str, Any]:
    names = sorted(path.stem for path in (folder / "voices").glob("*.safetensors"))
    default = source.settings.default_voice
    return {"default": default if default in names else None, "names": names}


def _text(source: ModelSource) -> dict[str, Any]:
    """The vocabulary, and the model's rules for its text."""
    size, kind = source.config.flow_lm.lookup_table.n_bins, source.tokenizer_kind
    tokenizer = load_tokenizer(kind, source.tokenizer, size)
    rules = asdict(TextRules.from_config(source.config))
    normalize = source.settings.normalize
    return {
        "tokenizer": {"kind": kind, "path": f"tokenizer{source.tokenizer.suffix}", "size": size},
        "text": rules
        # A model that needs numbers as words has tokens for ASCII letters only.
        | {"normalize": normalize, "ascii_only": normalize}
        | {"own_letters": has_own_letters(tokenizer)},
    }


def _audio(source: ModelSource) -> dict[str, Any]:
    mimi = source.config.mimi
    return {
        "sample_rate": mimi.sample_rate,
        "frame_size": mimi.frame_size,
        "frame_rate": mimi.frame_rate,
        "steps_per_frame": mimi.steps_per_frame,
        "fade_in_samples": int(mimi.sample_rate * FADE_IN_SECONDS),
        "decoder_schedule": [n for n in SCHEDULE if n <= AT_ONCE],
    }


def _generation(source: ModelSource) -> dict[str, Any]:
    config = source.config
    return {
        "flow_steps": list(flow_steps(config)),
        "temperature": config.default_temperature,
        "eos_threshold": config.default_eos_threshold,
        "frames_before_eos": FRAMES_BEFORE_EOS,
        "max_tokens": source.settings.max_tokens,
        "frames_after_eos": config.model_recommended_frames_after_eos,
        "frames_after_eos_by_words": {
            "fewer_than": prepare.SHORT,
            "then": prepare.TAIL_SHORT,
            "else": prepare.TAIL,
        },
        "tokens_per_second": prepare.SLOWEST_TOKENS_PER_SECOND,
        "extra_seconds": prepare.EXTRA_SECONDS,
    }


def _cache(source: ModelSource, capacity: int) -> dict[str, Any]:
    lm = source.config.flow_lm
    _, kv_heads, head_dim = head_shape(lm)
    return {
        "layers": lm.transformer.num_layers,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "capacities": list(capacities(capacity)),
    }


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file but the manifest and its checksum."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (MANIFEST, SUMS):
            found[name] = {"size": path.stat().st_size, "sha256": digest_of(path)}
    return found


def refresh_files(folder: Path) -> None:
    """Describe the files again, after some were added."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"] = describe_files(folder)
    _write(folder, manifest)


def describe_signature(signature: Signature) -> dict[str, Any]:
    """Inputs, outputs and state of a signature, as the manifest and StableHLO exports list them."""
    return {
        "inputs": [_tensor(tensor) for tensor in signature.inputs],
        "outputs": [_tensor(tensor) for tensor in signature.outputs],
        "state": signature.state_names(),
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype}
