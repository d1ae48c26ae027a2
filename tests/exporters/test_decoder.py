"""`--decoder int8`: the wide convolutions of the embedded voice's decoder in 8 bits."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters import build, tflite
from exporters.build import DECODER, Options
from exporters.convert.quantize import WIDE_CONVOLUTIONS, Rule
from exporters.gate import gate
from exporters.gate.against_file import run_mimi_file
from exporters.gate.against_model import run_mimi
from exporters.gate.recheck import check_folder
from exporters.graph.fold import decoder_weights
from exporters.graph.signatures import decoder_signatures
from pocket_tts_jax.litert_engine.folder import MANIFEST, open_folder
from pocket_tts_jax.litert_engine.packed_weights import IN_MEMORY
from pocket_tts_jax.litert_engine.runtime import Call, LiteRTModel
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.weights.source import EMBEDDED
from tests.exporters.test_gate_faults import Faulty, nothing

pytestmark = pytest.mark.slow
OPTIONS = Options(max_frames=320, prefill_lengths=(16,), batches=(), decoder="int8")


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that passed the gate."""
    target = tmp_path_factory.mktemp("decoder") / "export"
    assert tflite.export(None, target, OPTIONS) == []
    return target


def test_it_speaks_much_like_one_with_floats_and_is_smaller(export: Path, tmp_path: Path) -> None:
    floats = tmp_path / "floats"
    assert tflite.export(None, floats, replace(OPTIONS, decoder="fp32")) == []
    audios = []
    for folder in (floats, export):
        model = TTSModel.load_model(model=folder, engine="litert", compilation_cache=False)
        voice = model.get_state_for_audio_prompt(model.default_voice())
        audios.append(model.generate_audio(voice, "Hello there.", seed=1))
        assert (", decoder int8" in model.engine.precision) == (folder == export)
    exact, spoken = audios
    noise = np.square(spoken - exact).sum() / np.square(exact).sum()
    assert 0 < noise < 10 ** (-25 / 10)
    sizes = [(folder / DECODER).stat().st_size for folder in (floats, export)]
    assert sizes[1] < 0.6 * sizes[0]


def test_the_voice_in_the_package_is_exported_so(export: Path) -> None:
    assert open_folder(EMBEDDED).decoder == "int8"
    assert (EMBEDDED / DECODER).stat().st_size == (export / DECODER).stat().st_size


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
    assert [c.what for c in check_folder(older, None)] == [
        "products of other bits than the recipe's"
    ]


def history_is_forgotten(name: str, call: Call) -> None:
    call.inputs["convolution_0"][...] = 0
    call()


def position_stands_still(name: str, call: Call) -> None:
    call.inputs["position"][...] = 0
    call()


def samples_are_too_quiet(name: str, call: Call) -> None:
    call()
    call.outputs["audio"][...] *= 0.95


Judge = Callable[..., list[str]]


@pytest.fixture(scope="module")
def failures() -> Judge:
    """The checks that a decoder does not pass."""
    source = build.open_model(None)
    weights = decoder_weights(source.load_tensors(), source.config)
    (signature,) = decoder_signatures(weights, source.config, (4,))
    outputs = run_mimi(signature, source.config)

    def run(path: Path, fault: Callable[[str, Call], None] = nothing) -> list[str]:
        file = LiteRTModel(path, threads=1, weight_cache=IN_MEMORY)
        faulty: Any = Faulty(file, fault)
        chain = run_mimi_file(faulty, signature, outputs, source.config)
        checks = gate._judge(DECODER, chain, source.config, "int8")
        file.close()
        return [check.what for check in checks if not check.passed]

    return run


@pytest.mark.parametrize(
    "fault",
    [history_is_forgotten, position_stands_still, samples_are_too_quiet],
    ids=lambda fault: fault.__name__,
)
def test_the_gate_sees(export: Path, failures: Judge, fault: Callable[[str, Call], None]) -> None:
    assert failures(export / DECODER) == []
    assert failures(export / DECODER, fault)


@pytest.mark.parametrize("rule", WIDE_CONVOLUTIONS, ids=lambda rule: rule.scope)
def test_the_gate_sees_lost_weights(
    export: Path, failures: Judge, tmp_path: Path, rule: Rule
) -> None:
    """A sixteenth of the 8-bit weights of one layer are 0 in the file."""
    blob = bytearray((export / DECODER).read_bytes())
    for weights in weights_of(blob, rule.scope):
        weights[: weights.size // 16] = 0
    path = tmp_path / DECODER
    path.write_bytes(blob)
    assert "audio: SNR dB" in failures(path)


def weights_of(blob: bytearray, scope: str) -> Iterator[np.ndarray]:
    """Views of the 8-bit weights of the products in a scope."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.Model.GetRootAs(blob, 0)
    graph, found = model.Subgraphs(0), set()
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        name = graph.Tensors(operator.Outputs(0)).Name().decode()
        if scope in name and operator.InputsLength() > 1 and operator.Inputs(1) >= 0:
            tensor = graph.Tensors(operator.Inputs(1))
            if tensor.Type() == schema.TensorType.INT8:
                found.add(tensor.Buffer())
    assert found
    for buffer in found:
        place = model.Buffers(buffer)  # the numbers lie behind the tables
        yield np.frombuffer(blob, np.int8, place.Size(), place.Offset())
