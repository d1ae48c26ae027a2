"""Opens and verifies a folder made by `python -m exporters.tflite`."""

import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from pocket_tts_jax.config import Config, load_config
from pocket_tts_jax.errors import CheckpointError, CheckpointNotFound
from pocket_tts_jax.files.read import LARGEST_JSON, check_regular, parse_json, read_text
from pocket_tts_jax.files.verify import damage, is_intact
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.weights.settings import ModelSettings

FORMAT = "pocket-tts-jax export"
FORMAT_VERSION = 2
MANIFEST = "manifest.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SETTINGS = ("config.yaml", "voice.json")
_LARGEST_CAPACITY = 1 << 16
_TYPES = {
    "model": str,
    "precision": str,
    "fingerprint": str,
    "config": str,
    "signatures": dict,
    "batch": list,
    "alignment": dict,
    "alignment.heads": list,
    "generation": dict,
    "text": dict,
    "voices": dict,
    "voices.names": list,
    "tokenizer.kind": str,
    "tokenizer.path": str,
    "cache.capacities": list,
    "constants.bos": list,
    "generation.max_tokens": int,
    "text.normalize": bool,
}
_AGAIN = "Export the model again (python -m exporters.tflite) or copy the folder again."


@dataclass(frozen=True)
class ExportFolder:
    """An opened export. All files but the graphs have been verified; `intact` verifies those."""

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
    def decoder(self) -> str:
        """`int8` if the decoder has 8 bits in its wide convolutions too, else `fp32`."""
        return self.manifest.get("decoder", "fp32")

    @property
    def precisions(self) -> str:
        """What all weights are, in words: `int8`, or `int8, decoder int8`."""
        return self.precision + (f", decoder {self.decoder}" if self.decoder != "fp32" else "")

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

    def intact(self, name: str) -> Path:
        """The path of a file with the manifest's SHA-256. Raises CheckpointError for another one.
        The file is hashed only if it has changed since its last verification."""
        self._require(name, trust_stamp=True)
        return self.path / name

    def verify(self) -> None:
        """Hash every file. Raises CheckpointError, which names the first changed file."""
        for name in self.manifest["files"]:
            self._require(name, trust_stamp=False)

    def _require(self, name: str, *, trust_stamp: bool) -> None:
        try:
            whole = is_intact(self.file(name), self.sha256(name), trust_stamp=trust_stamp)
        except OSError as error:
            raise CheckpointError(
                f"{self.path / name} cannot be read: {error}. {_AGAIN}"
            ) from error
        if not whole:
            raise CheckpointError(
                f"{self.path / name} is damaged: its SHA-256 is not the one in the manifest, "
                f"{self.sha256(name)}. {_AGAIN}"
            )


def is_export_folder(path: str | Path) -> bool:
    return (Path(path) / MANIFEST).is_file()


def open_folder(path: str | Path) -> ExportFolder:
    """Read the manifest and compare the files with it: all sizes, and the contents of all files but
    the graphs.

    Raises CheckpointError for a missing or unreadable manifest, another format version, and a file
    that is missing, damaged, incomplete or outside the folder.
    """
    path = Path(path).expanduser()
    manifest = _read_manifest(path)
    _require_none(path, _wrong_fields(manifest))
    _require_none(path, _wrong_sizes(path, manifest["files"]))
    folder = ExportFolder(path, manifest, load_config(path / manifest["config"]))
    _require_none(path, _wrong_constants(folder))
    for name in folder.manifest["files"]:
        if name.startswith("voices/") or name in (folder.tokenizer()[1].name, *_SETTINGS):
            folder.intact(name)
    return folder


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = parse_json(read_text(path / MANIFEST, LARGEST_JSON))
        reason = damage(path / MANIFEST)
    except FileNotFoundError:
        raise CheckpointNotFound(
            f"{path} has no {MANIFEST}: it is not an export. {_AGAIN}"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / MANIFEST} cannot be read ({error}). {_AGAIN}") from error
    if reason is not None:
        raise CheckpointError(f"{reason} {_AGAIN}")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{path / MANIFEST} does not describe an export. {_AGAIN}")
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}, this package reads {FORMAT_VERSION}. Export the "
            "model again with this package: python -m exporters.tflite --model MODEL --out FOLDER."
        )
    return manifest


def _require_none(path: Path, mistakes: list[str]) -> None:
    if mistakes:
        raise CheckpointError(f"The export {path} is damaged: {'; '.join(mistakes[:20])}. {_AGAIN}")


def _wrong_fields(manifest: dict[str, Any]) -> list[str]:
    """Entries of the manifest that are missing or have a wrong type."""
    files, fields = manifest.get("files"), dict(manifest)
    if not isinstance(files, dict):
        return ["the manifest lists no files"]
    for key in ("tokenizer", "cache", "constants", "alignment", "generation", "text", "voices"):
        inner = manifest.get(key)
        fields |= {f"{key}.{n}": v for n, v in inner.items()} if isinstance(inner, dict) else {}
    right = {key: isinstance(fields.get(key), kind) for key, kind in _TYPES.items()}
    mistakes = [
        f"the manifest has no right {key!r}" for key, is_right in right.items() if not is_right
    ]
    mistakes += [f"{name!r} lies outside the folder" for name in files if not _is_inside(name)]
    mistakes += [
        f"the manifest describes {name!r} wrongly" for name in files if not _is_entry(files[name])
    ]
    if mistakes:
        return mistakes
    for name in (manifest["config"], manifest["tokenizer"]["path"]):
        if name not in files:
            mistakes.append(f"the manifest does not list {name!r}")
    capacities = manifest["cache"]["capacities"]
    if not capacities or any(
        type(c) is not int or not 0 < c <= _LARGEST_CAPACITY for c in capacities
    ):
        mistakes.append(f"the manifest's capacities are no numbers up to {_LARGEST_CAPACITY}")
    return mistakes


def _is_inside(name: str) -> bool:
    path = PureWindowsPath(name)  # takes both kinds of slashes, and drives
    return not (path.drive or path.root or ".." in path.parts)


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("size")) is int
        and isinstance(entry.get("sha256"), str)
        and _SHA256.fullmatch(entry["sha256"]) is not None
    )


def _wrong_sizes(path: Path, files: dict[str, Any]) -> list[str]:
    mistakes = []
    for name, entry in files.items():
        try:
            size = check_regular(path / name).st_size
        except FileNotFoundError:
            mistakes.append(f"{name} is missing")
        except (OSError, ValueError) as error:
            mistakes.append(f"{name}: {error}")
        else:
            if size != entry["size"]:
                mistakes.append(f"{name} has {size} bytes instead of {entry['size']}")
    return mistakes


def _wrong_constants(folder: ExportFolder) -> list[str]:
    config, mistakes = folder.config, []
    widths = {"bos": config.latent_dim, "voice_start": config.flow_lm.transformer.d_model}
    for name, width in widths.items():
        try:
            values = folder.constant(name)
            if values is not None and not (values.shape == (width,) and np.isfinite(values).all()):
                raise ValueError
        except (KeyError, TypeError, ValueError, OverflowError):
            mistakes.append(f"constants.{name} is not {width} finite numbers")
    return mistakes
