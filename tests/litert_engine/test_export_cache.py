"""Which of the exports in the user's cache a model speaks with."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pocket_tts_jax.files.verify import SUMS
from pocket_tts_jax.litert_engine.export_cache import ExportedModel
from pocket_tts_jax.litert_engine.folder import MANIFEST
from pocket_tts_jax.open_model import ModelOptions, open_model
from pocket_tts_jax.testing.tiny_model import write_model
from tests.exported import tiny_export


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the exporter, in whose place a finished export is copied and renamed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    finished = tiny_export()  # while `subprocess.run` is what it is
    run: list[list[str]] = []

    def copy(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        run.append(command)
        options = dict(zip(command, command[1:], strict=False))
        target = Path(options["--out"])
        shutil.copytree(finished, target, ignore=shutil.ignore_patterns(SUMS))
        manifest = json.loads((target / MANIFEST).read_text())
        manifest |= {"precision": options["--precision"], "decoder": options["--decoder"]}
        (target / MANIFEST).write_text(json.dumps(manifest))
        return subprocess.CompletedProcess(command, 0, b"")

    monkeypatch.setattr(subprocess, "run", copy)
    return run


def speaks_with(folder: Path, quantize: bool = False) -> str:
    options = ModelOptions(model=folder, quantize=quantize, threads=1, compilation_cache=False)
    return open_model(options, print).engine.precision


def test_a_model_speaks_with_the_export_that_was_asked_for_last(
    tmp_path: Path, commands: list[list[str]]
) -> None:
    folder = write_model(tmp_path / "model")
    model = ExportedModel(folder=folder)
    assert model.find() == []
    plain = model.make("int8", with_encoder=True)
    small = model.make("int8", "int8", with_encoder=True)
    assert model.find() == [small, plain] and plain == model.path()
    assert speaks_with(folder) == "int8, decoder int8"
    assert model.make("int8", with_encoder=True) == plain and len(commands) == 2
    assert speaks_with(folder) == "int8"


def test_quantize_passes_over_floats(tmp_path: Path, commands: list[list[str]]) -> None:
    folder = write_model(tmp_path / "model")
    ExportedModel(folder=folder).make("int4", "int8", with_encoder=True)
    ExportedModel(folder=folder).make("fp32", with_encoder=True)
    assert speaks_with(folder) == "fp32"
    assert speaks_with(folder, quantize=True) == "int4, decoder int8"
    assert len(commands) == 2


def test_a_changed_model_has_no_export(tmp_path: Path, commands: list[list[str]]) -> None:
    folder = write_model(tmp_path / "model")
    ExportedModel(folder=folder).make(with_encoder=True)
    (folder / "voice.json").write_text("{}")
    assert ExportedModel(folder=folder).find() == [] and len(commands) == 1
