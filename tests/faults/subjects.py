"""Every kind of file that is read: how it is written, how it is read, and what it may answer."""

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from pocket_tts_jax.audio.read import read_audio
from pocket_tts_jax.config import Config, load_config
from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.files.verify import digest_of, sums_of, write_sums
from pocket_tts_jax.litert_engine import packed_weights
from pocket_tts_jax.litert_engine.folder import ExportFolder, open_folder
from pocket_tts_jax.text.lexicon import load_lexicon
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.voice.state import read_voice
from pocket_tts_jax.weights.checkpoint import load_checkpoint
from pocket_tts_jax.weights.expected import parameter_shapes
from pocket_tts_jax.weights.settings import ModelSettings

AUDIO = ("WAV", "FLAC", "OGG", "MP3")
GRAPHS = ("flow_lm.tflite", "mimi_decoder.tflite", "mimi_encoder.tflite")


@dataclass(frozen=True)
class Subject:
    """A file at `path`, and what reads it. `verified`: no damage may pass for the file."""

    path: Path
    read: Callable[[], object]
    verified: bool


def subjects(model: Path, export: Path, folder: Path) -> dict[str, Subject]:
    """One of each kind in `folder`, copied from a model's folder and an export of it."""
    model = Path(shutil.copytree(model, folder / "model"))
    write_sums(model, sums_of(model))
    export = Path(shutil.copytree(export, folder / "export"))
    write_sums(export, {"manifest.json": sums_of(export)["manifest.json"]})
    config = load_config(model / "config.yaml")
    table, shapes = config.flow_lm.lookup_table, parameter_shapes(config)
    tokenizer = "tokenizer.model"
    (folder / "plain").mkdir()
    found = {
        "weights": Subject(
            model / "model.safetensors",
            lambda: load_checkpoint(model / "model.safetensors", shapes),
            True,
        ),
        "voice": Subject(
            model / "voices" / "tiny.safetensors",
            lambda: read_voice(model / "voices" / "tiny.safetensors", config),
            True,
        ),
        "config": Subject(model / "config.yaml", lambda: load_config(model / "config.yaml"), True),
        "tokenizer": Subject(
            model / tokenizer,
            lambda: load_tokenizer("sentencepiece", model / tokenizer, table.n_bins),
            True,
        ),
        "manifest": Subject(export / "manifest.json", lambda: open_folder(export), True),
    }
    for name in GRAPHS:
        found[name] = Subject(export / name, lambda name=name: _graph(export, name), True)
    found["packed weights"] = _packed(export / "mimi_decoder.tflite", folder / "packed")
    for name in ("model.safetensors", "voices/tiny.safetensors", "config.yaml", tokenizer):
        shutil.copy(model / name, folder / "plain")
    found |= _without_checksum(folder / "plain", shapes, config, table.n_bins)
    found |= {kind: _recording(folder, kind) for kind in AUDIO}
    return found


def _without_checksum(folder: Path, shapes: dict, config: Config, bins: int) -> dict[str, Subject]:
    """The same files where nothing says what they should be, and those that never have it."""
    (folder / "voice.json").write_text('{"max_tokens": 40, "notice": "Read me."}')
    (folder / "lexicon.json").write_text('{"nginx": "engine x", "C++": "C plus plus"}')
    readers = {
        "model.safetensors": lambda path: load_checkpoint(path, shapes),
        "tiny.safetensors": lambda path: read_voice(path, config),
        "config.yaml": load_config,
        "tokenizer.model": lambda path: load_tokenizer("sentencepiece", path, bins),
        "voice.json": lambda path: ModelSettings.read(path.parent),
        "lexicon.json": load_lexicon,
    }
    return {
        f"plain {name}": Subject(folder / name, lambda r=reader, p=folder / name: r(p), False)
        for name, reader in readers.items()
    }


def _graph(export: Path, name: str) -> Path:
    manifest = open_folder(export)
    assert isinstance(manifest, ExportFolder)
    return manifest.intact(name)


def _packed(graph: Path, folder: Path) -> Subject:
    """The cache of a graph's packed weights; one that is damaged is packed again."""
    sha256 = digest_of(graph)
    path = Path(packed_weights.packed_weights(graph, sha256, folder))
    assert path.is_file(), "XNNPACK wrote no packed weights"

    def read() -> Path:
        found = packed_weights._find(folder, packed_weights._key(sha256))
        if found is None:
            raise GenerationError("packed again")
        return found

    return Subject(path, read, True)


def _recording(folder: Path, kind: str) -> Subject:
    time = np.arange(24000) / 24000
    noise = np.random.default_rng(0).standard_normal(24000)
    file = io.BytesIO()
    samples = 0.4 * np.sin(2 * np.pi * 220 * time) + 0.05 * noise
    soundfile.write(file, samples.astype(np.float32), 24000, format=kind)
    path = folder / f"voice.{kind.lower()}"
    path.write_bytes(file.getvalue())
    return Subject(path, lambda: read_audio(path), False)
