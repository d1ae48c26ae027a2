"""The tiny model, exported once per test process and never changed."""

import functools
import shutil
import tempfile
from pathlib import Path

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
    place = tempfile.TemporaryDirectory(prefix="pocket-tts-export-")
    _PLACES.append(place)  # removed when the process ends
    return Path(place.name)


_PLACES: list[tempfile.TemporaryDirectory] = []


@functools.cache
def tiny_model_folder() -> Path:
    """The model that `tiny_export` was made from."""
    return write_model(_place() / "tiny")


@functools.cache
def tiny_export() -> Path:
    """An export in fp32 that passed the gate."""
    target = _place() / "export"
    failed = export(str(tiny_model_folder()), target, OPTIONS)
    assert failed == []
    return target


def copy_of_export(folder: Path) -> Path:
    """A copy that a test may damage, whose manifest it may change."""
    ignored = shutil.ignore_patterns(SUMS)
    return Path(shutil.copytree(tiny_export(), folder / "export", ignore=ignored))
