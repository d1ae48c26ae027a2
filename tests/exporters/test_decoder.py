"""`--decoder int8`: the wide convolutions of the embedded voice's decoder in 8 bits."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from exporters import build, tflite
from exporters.build import DECODER, Options
from exporters.convert import litert
from exporters.convert.quantize import Decoder, Precision, quantize, recipe_of
from exporters.gate import gate
from exporters.gate.gate import Check, Part
from exporters.gate.recheck import check_folder
from exporters.graph.fold import decoder_weights
from exporters.graph.signatures import decoder_signatures
from pocket_tts_jax.litert_engine.folder import MANIFEST, open_folder
from pocket_tts_jax.litert_engine.runtime import Call, LiteRTModel
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.weights.source import EMBEDDED

pytestmark = pytest.mark.slow
OPTIONS = ["--max-frames", "320", "--one-stream", "--decoder", "int8"]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that passed the gate, made by the command."""
    target = tmp_path_factory.mktemp("decoder") / "export"
    done = CliRunner().invoke(tflite.app, ["--out", str(target), *OPTIONS])
    assert done.exit_code == 0, done.output
    return target


def test_it_speaks_much_like_the_packaged_voice_and_is_smaller(export: Path) -> None:
    audios = []
    for folder in (EMBEDDED, export):
        model = TTSModel.load_model(model=folder, engine="litert", compilation_cache=False)
        voice = model.get_state_for_audio_prompt(model.default_voice())
        audios.append(model.generate_audio(voice, "Hello there.", seed=1))
        assert (", decoder int8" in model.engine.precision) == (folder == export)
    packaged, spoken = audios
    noise = np.square(spoken - packaged).sum() / np.square(packaged).sum()
    assert 0 < noise < 10 ** (-25 / 10)
    sizes = [(folder / DECODER).stat().st_size for folder in (EMBEDDED, export)]
    assert sizes[1] < 0.6 * sizes[0]


def test_the_folder_says_it_and_is_checked_by_it(export: Path, tmp_path: Path) -> None:
    assert open_folder(export).decoder == "int8"
    assert "int8, decoder int8" in (export / "REPORT.md").read_text(encoding="utf-8")
    assert check_folder(export, None) == []
    # A manifest without the field, as older ones are, promises floats.
    older = Path(shutil.copytree(export, tmp_path / "older"))
    (older / "SHA256SUMS").unlink()
    manifest = json.loads((older / MANIFEST).read_text(encoding="utf-8"))
    del manifest["decoder"]
    (older / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert open_folder(older).decoder == "fp32"
    assert [c.what for c in check_folder(older, None)] == ["products of other bits than the recipe's"]
