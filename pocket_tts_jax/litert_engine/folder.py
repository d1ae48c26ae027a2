"""Opens and verifies a folder made by `python -m exporters.tflite`."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pocket_tts_jax.config import Config, load_config
from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.weights.settings import ModelSettings

FORMAT = "pocket-tts-jax export"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"
_AGAIN = "Export the model again (python -m exporters.tflite) or copy the folder again."
_FIELDS = (
    *("model", "precision", "config", "constants", "tokenizer", "signatures"),
    *("alignment", "generation", "text", "voices"),
)


@dataclass(frozen=True)
class ExportFolder:
    """An opened export. Sizes have been compared with the manifest; `verify` also hashes."""

    path: Path
    manifest: dict[str, Any]
    config: Config

    @property
    def name(self) -> str:
        return self.manifest["model"]

    @property
    def precision(self) -> str:
        return self.manifest["precision"]

    @property
    def alignment_heads(self) -> tuple[tuple[int, int], ...]:
        """The (layer, head) pairs whose attention a step returns."""
        return tuple((layer, head) for layer, head in self.manifest["alignment"]["heads"])

    @property
    def settings(self) -> ModelSettings:
        """The settings of the model that was exported."""
        return ModelSettings(
            max_tokens=self.manifest["generation"]["max_tokens"],
            default_voice=self.manifest["voices"]["default"],
            has_voice_cloning=self.has("mimi_encoder.tflite"),
            normalize=self.manifest["text"]["normalize"],
            notice=self.manifest.get("notice"),
            alignment_heads=self.manifest["alignment"]["heads"],
        )

    @property
    def capacities(self) -> tuple[int, ...]:
        """Slots of the caches with signatures, smallest first."""
        return tuple(self.manifest["cache"]["capacities"])

    @property
    def batches(self) -> tuple[int, ...]:
        """Numbers of rows that there are batched steps for, smallest first; empty if none."""
        return tuple(self.manifest["batch"])

    def constant(self, name: str) -> Float[np.ndarray, " n"] | None:
        """`bos` (the first latent) or `voice_start` (an embedding before a voice, if any)."""
        values = self.manifest["constants"][name]
        return None if values is None else np.asarray(values, np.float32)

    def has(self, name: str) -> bool:
        return name in self.manifest["files"]

    def file(self, name: str) -> Path:
        """Path of a file that the manifest lists."""
        if name not in self.manifest["files"]:
            raise CheckpointError(f"{self.path} has no {name}. {_AGAIN}")
        return self.path / name

    def sha256(self, name: str) -> str:
        """The SHA-256 of a file in the manifest."""
        return self.manifest["files"][name]["sha256"]

    def tokenizer(self) -> tuple[str, Path]:
        """Kind and path of the tokenizer."""
        described = self.manifest["tokenizer"]
        return described["kind"], self.file(described["path"])

    def voices(self) -> dict[str, Path]:
        """Name to file of each voice in the folder."""
        names = (name for name in self.manifest["files"] if name.startswith("voices/"))
        return {Path(name).stem: self.path / name for name in sorted(names)}

    @staticmethod
    def files_in_manifest(folder: Path) -> list[str]:
        """Names of the files that a manifest lists, which need not exist yet."""
        files = _read_manifest(folder).get("files")
        return sorted(files) if isinstance(files, dict) else []

    def verify(self, name: str | None = None) -> None:
        """Hash one file, or all; CheckpointError names the first that was changed."""
        for entry in [name] if name else self.manifest["files"]:
            with open(self.file(entry), "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != self.sha256(entry):
                raise CheckpointError(
                    f"{self.path / entry} is damaged: its SHA-256 is {found}, the manifest says "
                    f"{self.sha256(entry)}. {_AGAIN}"
                )


def is_export_folder(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def open_folder(path: Path) -> ExportFolder:
    """Read the manifest and compare the size of every file with it.

    Raises CheckpointError for a missing or unreadable manifest, another format version, and a
    file that is missing or cut short.
    """
    manifest = _read_manifest(path)
    _check_sizes(path, manifest)
    return ExportFolder(path, manifest, load_config(path / manifest["config"]))


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} has no {MANIFEST}: it is not an export. {_AGAIN}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / MANIFEST} cannot be read ({error}). {_AGAIN}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path / MANIFEST} does not describe an export. {_AGAIN}")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}, this package reads {FORMAT_VERSION}. Export the "
            "model again with this package: python -m exporters.tflite --model MODEL --out FOLDER."
        )
    return manifest


def _check_sizes(path: Path, manifest: dict[str, Any]) -> None:
    mistakes = []
    try:
        for name, entry in manifest["files"].items():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                mistakes.append(f"{name} lies outside the folder")
            elif not (path / name).is_file():
                mistakes.append(f"{name} is missing")
            elif (size := (path / name).stat().st_size) != entry["size"]:
                mistakes.append(
                    f"{name} has {size} bytes instead of {entry['size']} "
                    f"(SHA-256 should be {entry['sha256']})"
                )
        mistakes += [f"the manifest has no {key!r}" for key in _FIELDS if key not in manifest]
        if not manifest["cache"]["capacities"]:
            mistakes.append("the manifest lists no capacity")
    except (KeyError, TypeError, AttributeError) as error:
        mistakes.append(f"the manifest lacks {error}")
    if mistakes:
        raise CheckpointError(f"The export {path} is damaged: {'; '.join(mistakes)}. {_AGAIN}")
