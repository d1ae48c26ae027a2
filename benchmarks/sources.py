"""A hash of everything that a workload and its exports depend on; if it changes, they are
remade."""

import hashlib
from pathlib import Path

from benchmarks.machine import versions

ROOT = Path(__file__).parents[1]
# The model's code is traced into an export, and is what its gate compares with.
SOURCES = (
    *("exporters/**/*.py", "pocket_tts_jax/**/*.py", "pocket_tts_jax/configs/*.yaml"),
    *("benchmarks/workload.py", "benchmarks/tokenizer.py"),
)


def made_by(config: str, root: Path = ROOT) -> str:
    """Hash of the configuration's name, the sources and the versions of the converters."""
    from exporters.manifest import CONVERTERS  # it imports JAX

    digest = hashlib.sha256(f"{config} {versions(CONVERTERS)}".encode())
    for path in sorted(path for pattern in SOURCES for path in root.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()
