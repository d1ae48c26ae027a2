"""`manifest.json`: what an exported folder holds, for apps and for the LiteRT engine."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from exporters.graph.fold import Tree
from exporters.graph.signature import Signature, Tensor
from exporters.graph.signatures import SHORT_CAPACITY, flow_steps
from pocket_tts_jax.config import Config
from pocket_tts_jax.files.verify import SUMS, digest_of, write_sums
from pocket_tts_jax.litert_engine.folder import FORMAT, FORMAT_VERSION, MANIFEST

CONVERTERS = ("jax", "flax", "litert-converter", "ai-edge-quantizer", "ai-edge-litert")


def write_manifest(
    folder: Path,
    *,
    model: str,
    precision: str,
    route: str,
    licence: str,
    fingerprint: str,
    config: Config,
    max_tokens: int,
    capacity: int,
    weights: Tree,
    signatures: dict[str, list[Signature]],
    tokenizer: dict[str, str],
) -> None:
    """Describe every file in `folder`. The constants are what a caller needs beside the graphs."""
    start = weights["voice_start"]
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "model": model,
        "precision": precision,
        "licence": licence,
        "fingerprint": fingerprint,
        "config": "config.yaml",
        "tokenizer": tokenizer,
        "audio": {
            "sample_rate": config.mimi.sample_rate,
            "frame_size": config.mimi.frame_size,
            "steps_per_frame": config.mimi.steps_per_frame,
        },
        "generation": {
            "flow_steps": list(flow_steps(config)),
            "temperature": config.default_temperature,
            "eos_threshold": config.default_eos_threshold,
            "max_tokens": max_tokens,
            # None: by the chunk's text.
            "frames_after_eos": config.model_recommended_frames_after_eos,
        },
        "cache": {
            "capacities": sorted({min(SHORT_CAPACITY, capacity), capacity}),
            "budget": "voice frames + text tokens + spoken frames",
        },
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
