"""Phone folders, {model.safetensors, tokenizer.model, voices/}: exported once, then from cache."""

import hashlib
import importlib.util
from pathlib import Path

from pocket_tts_jax import __version__
from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.litert_engine.folder import is_export_folder, open_folder

WEIGHTS = "model.safetensors"
# The smallest export that passes the gate with every model tried.
PRECISION = "int8"
_NEEDED = ("jax", "flax", "litert_converter", "ai_edge_quantizer")


def exported(folder: Path, cache: Path | None = None) -> Path:
    """The export of a phone folder, made at the first call for these files.

    Raises CheckpointError where `folder` is no phone folder, where it has to be exported and the
    tools for it are not installed, or where the export does not pass its gate.
    """
    if not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder} is neither an exported folder (manifest.json) nor a phone folder "
            f"({WEIGHTS}, tokenizer.model, voices/)."
        )
    target = (cache or _cache_folder()) / _key(folder)
    if not is_export_folder(target):
        _export(folder, target)
    open_folder(target)
    return target


def _export(folder: Path, target: Path) -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CheckpointError(
            f"{folder} holds raw weights, which have to be exported first; that needs "
            f"{', '.join(missing)}: pip install 'pocket-tts-jax[export]', or open a folder made "
            "by python -m exporters.tflite."
        )
    from exporters.build import Options
    from exporters.tflite import export

    failed = export(str(folder), target, Options(precision=PRECISION))
    if failed:
        raise CheckpointError(
            f"The {PRECISION} export of {folder} differs too much from the model "
            f"({len(failed)} checks failed). Export it with another --precision."
        )


def _key(folder: Path) -> str:
    """Changes with the content of any file, and with this package."""
    digest = hashlib.sha256(f"{__version__} {PRECISION}\n".encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:32]


def _cache_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("pocket-tts-jax")) / "exports"
