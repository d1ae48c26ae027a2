"""Exports in the user's cache folder, made once for each model.

The exporter runs as a process, so that this package does not import it.
"""

import hashlib
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pocket_tts_jax import __version__
from pocket_tts_jax.config import packaged_config
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.files.cache import cache_folder
from pocket_tts_jax.litert_engine.folder import FORMAT_VERSION, MANIFEST, is_export_folder

PRECISION = "int8"  # the smallest export that passes the gate with every model tried
DECODER = "fp32"
_TOOLS = ("jax", "flax", "ai_edge_litert", "litert_converter", "ai_edge_quantizer")


@dataclass(frozen=True)
class ExportedModel:
    """A model that can be exported: a published name, or a folder with weights."""

    language: str | None = None
    folder: Path | None = None

    @property
    def option(self) -> str:
        """The option that names the model on the command line."""
        if self.language is not None:
            return f"--language {self.language}"
        return f"--model {self.folder}"

    def path(self, precision: str = PRECISION, decoder: str = DECODER) -> Path | None:
        """The path of an export, whether it exists or not; None for a user without a home folder.

        The name depends on the model's files, the version of this package and the precisions.
        """
        root = cache_folder("exports")
        if root is None:
            return None
        name = self.language or Path(self.folder or "").resolve().name
        precisions = precision if decoder == DECODER else f"{precision}-decoder-{decoder}"
        return root / f"{name}-{precisions}-{self._digest()}"

    def find(self) -> list[Path]:
        """The exports of this model that were made, the preferred one first."""
        root = cache_folder("exports")
        if root is None:
            return []
        made = [path for path in root.glob(f"*-{self._digest()}") if is_export_folder(path)]
        return sorted(made, key=lambda path: (path / MANIFEST).stat().st_mtime_ns, reverse=True)

    def make(
        self,
        precision: str = PRECISION,
        decoder: str = DECODER,
        *,
        with_encoder: bool,
        quiet: bool = False,
    ) -> Path:
        """The path of an export, which is made if necessary and is the preferred one from then on.
        The exporter prints to standard error.

        Raises ConfigError if the exporter is not installed or fails, or if there is no cache
        folder.
        """
        from filelock import FileLock  # it imports asyncio, which takes 40 ms

        path = self.path(precision, decoder)
        if path is None:
            raise ConfigError("There is no home folder to keep an export in: set HOME.")
        self._require_exporter()
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            for left in path.parent.glob(f".{path.name}.*.part"):  # of an exporter that was killed
                shutil.rmtree(left, ignore_errors=True)
            if not is_export_folder(path):
                self._run_exporter(path, precision, decoder, with_encoder, quiet)
        self.prefer(path)
        return path

    def prefer(self, path: Path) -> None:
        """Make an export the first of `find`."""
        now = time.time_ns()  # finer than the clock of files
        os.utime(path / MANIFEST, ns=(now, now))

    def _digest(self) -> str:
        digest = hashlib.sha256(f"{__version__} {FORMAT_VERSION}\n".encode())
        for line in self._identity():
            digest.update(line.encode() + b"\n")
        return digest.hexdigest()[:16]

    def _identity(self) -> Iterator[str]:
        """Lines that identify the sources of the export: for a folder, sizes and times of its
        files."""
        if self.language is not None:
            yield hashlib.sha256(packaged_config(self.language).read_bytes()).hexdigest()
            return
        folder = Path(self.folder or "").resolve()
        yield str(folder)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            status = path.stat()
            yield f"{path.relative_to(folder).as_posix()} {status.st_size} {status.st_mtime_ns}"

    def _require_exporter(self) -> None:
        missing = [name for name in _TOOLS if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"The exporter needs {', '.join(missing)}: pip install 'pocket-tts-jax[export]'."
            )

    def _run_exporter(
        self, path: Path, precision: str, decoder: str, with_encoder: bool, quiet: bool
    ) -> None:
        import subprocess

        model = self.language or str(self.folder)
        command = [sys.executable, "-m", "exporters.tflite", "--model", model, "--out", str(path)]
        command += ["--precision", precision, "--decoder", decoder]
        command += ["--with-encoder"] if with_encoder else []
        output = subprocess.PIPE if quiet else sys.stderr
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode or not is_export_folder(path):
            said = f": {done.stdout.decode(errors='replace').strip()[-2000:]}" if quiet else "."
            raise ConfigError(
                f"The {precision} export of {model} failed{said} Try another --precision, or "
                "--engine jax."
            )
