"""The tiny model, exported once for all tests of a run and never changed."""

import functools
import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

from exporters.build import Options
from exporters.tflite import export
from pocket_tts_jax.files.verify import SUMS
from pocket_tts_jax.testing.tiny_model import write_model

MAX_FRAMES = 320
OPTIONS = Options(
    precision="fp32",
    max_frames=MAX_FRAMES,
    with_encoder=True,
    prefill_lengths=(8, 16),
    decoder_frames=(1, 2),
)


@functools.cache
def _place() -> Path:
    """A folder of the test run: pytest-xdist's processes share theirs."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is not None:
        path = Path(tempfile.gettempdir()) / f"pocket-tts-export-{run}"
        path.mkdir(exist_ok=True)
        return path
    place = tempfile.TemporaryDirectory(prefix="pocket-tts-export-")
    _PLACES.append(place)  # removed when the process ends
    return Path(place.name)


_PLACES: list[tempfile.TemporaryDirectory] = []


@functools.cache
def tiny_model_folder() -> Path:
    """The model that `tiny_export` was made from."""
    folder = _place() / "tiny"
    with FileLock(_place() / "tiny.lock"):
        return folder if folder.exists() else write_model(folder)


@functools.cache
def tiny_export() -> Path:
    """An export in fp32 that passed the gate."""
    target, model = _place() / "export", tiny_model_folder()
    with FileLock(_place() / "export.lock"):
        if not target.exists():
            assert export(str(model), target, OPTIONS) == []
    return target


def copy_of_export(folder: Path) -> Path:
    """A copy that a test may damage, whose manifest it may change."""
    ignored = shutil.ignore_patterns(SUMS)
    return Path(shutil.copytree(tiny_export(), folder / "export", ignore=ignored))
