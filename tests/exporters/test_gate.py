"""What an export holds, and that the gate keeps wrong ones out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from exporters import build, tflite
from exporters.build import Options
from exporters.convert.quantize import Precision
from exporters.gate import against_model
from exporters.gate import gate as validate
from exporters.gate import inspect_file as flatbuffer
from exporters.gate import recheck as check
from exporters.gate.against_file import Chain
from exporters.gate.difference import Difference, median
from exporters.gate.recheck import check_folder
from exporters.gate.reference import Model, make_reference
from exporters.graph import functions as graph
from exporters.tflite import export
from pocket_tts_jax.errors import CheckpointError, ConfigError
from pocket_tts_jax.litert_engine.folder import open_folder
from pocket_tts_jax.model.attention import MASKED
from tests.exported import OPTIONS, copy_of_export, tiny_export, tiny_model_folder


def test_report_covers_every_signature_and_output() -> None:
    folder = tiny_export()
    report = json.loads((folder / "report.json").read_text())
    assert report["passed"] and all(check["passed"] for check in report["checks"])
    said = {(c["where"], c["what"].split(":")[0]) for c in report["checks"]}
    manifest = open_folder(folder).manifest
    for file, signatures in manifest["signatures"].items():
        for name, signature in signatures.items():
            for output in signature["outputs"]:
                assert (f"{file}:{name}", output["name"]) in said
    assert "checks passed" in (folder / "REPORT.md").read_text()


def test_states_come_out_as_they_go_in() -> None:
    manifest = open_folder(tiny_export()).manifest
    for file in ("mimi_decoder.tflite", "mimi_encoder.tflite"):
        for signature in manifest["signatures"][file].values():
            inputs = {t["name"]: t for t in signature["inputs"]}
            outputs = {t["name"]: t for t in signature["outputs"]}
            assert len(signature["state"]) == len(inputs) - 2  # all but the stream and position
            assert all(inputs[name] == outputs[name] for name in signature["state"])


def test_graphs_are_builtin_static_and_delegated() -> None:
    folder = tiny_export()
    left = []
    total = 0
    for file in ("flow_lm.tflite", "mimi_decoder.tflite", "mimi_encoder.tflite"):
        facts = flatbuffer.inspect(folder / file)
        assert facts.foreign == () and facts.dynamic == 0
        for count, names in flatbuffer.undelegated(folder / file).values():
            total += count
            left += names
    # The look-up of text embeddings, and one concatenation of an empty history.
    assert set(left) <= {"GATHER_ND", "GATHER", "RESHAPE", "CONCATENATION"}
    assert len(left) <= 0.05 * total


def test_weights_are_stored_once() -> None:
    from ai_edge_litert import schema_py_generated as schema

    weights = (tiny_model_folder() / "model.safetensors").stat().st_size
    stored = 0
    for path in tiny_export().glob("*.tflite"):
        model: Any = schema.Model.GetRootAs(path.read_bytes(), 0)
        stored += sum(model.Buffers(i).DataLength() for i in range(model.BuffersLength()))
    # Masks and positions of sixteen signatures are constants too.
    assert 0.8 * weights < stored < 1.5 * weights


def test_a_failing_export_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = validate.Check("decode_1", "audio", 1.0, 0.0, False)
    monkeypatch.setattr(build, "validate", lambda *_: [failure])
    failed = export(str(tiny_model_folder()), tmp_path / "out", OPTIONS)
    assert failed == [failure]
    assert list(tmp_path.iterdir()) == []
    assert "FAILED decode_1" in capsys.readouterr().out


def test_an_export_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="exists"):
        export(str(tiny_model_folder()), tmp_path / "out", OPTIONS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"precision": "int3"},
        {"decoder": "int4"},
        {"max_frames": 3},
        {"max_frames": 10**6},
        {"via": "onnx"},
    ],
)
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Options(**wrong)


def test_numbers_that_are_not_finite_are_infinitely_far() -> None:
    ones, broken = np.ones(3), np.array([1, np.nan, 1])
    for expected, found in ((ones, broken), (broken, ones), (broken, broken)):
        difference = Difference()
        difference.add(expected, found)
        assert difference.relative == np.inf and difference.snr_db == -np.inf


def test_a_state_of_zeros_has_to_stay_zero() -> None:
    wrong = Difference()
    wrong.add(np.zeros(4), np.full(4, 1e6))
    chain = Chain("decode_1", outputs={"k_0_rows": wrong})
    (check,) = validate._judge_quantised("here", chain, validate.LIMITS["int4"])
    assert not check.passed


def test_gate_sees_a_prefill_that_forgets_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    voices = tiny_export() / "voices"  # made before anything goes wrong
    right = graph.many_queries

    def forgetful(q: Any, cache: Any, rows: Any, cache_bias: Any, new_bias: Any) -> Any:
        return right(q, cache, rows, cache_bias + MASKED, new_bias)

    monkeypatch.setattr(graph, "many_queries", forgetful)
    source = build.open_model(str(tiny_model_folder()))
    tensors = source.load_tensors()
    weights = build.flow_lm_weights(tensors, source.config)
    signatures = build.make_parts(weights, tensors, source, OPTIONS)[0].signatures
    model = Model(tensors, source)
    reference = make_reference(model, source, voices, [256, OPTIONS.max_frames])
    found = against_model.check_flow_lm(signatures, model, reference)
    far = {name + ": " + output for name, output, value in found if value > against_model.RELATIVE}
    # The first layer's rows do not depend on any attention, nor those of an empty cache on it.
    assert "prefill_16_c256: k_1_rows behind 112 slots" in far
    assert not any("k_0_rows" in what or "behind 0 slots" in what for what in far)


def test_gate_sees_weights_of_other_bits() -> None:
    folder = open_folder(tiny_export())
    cases: tuple[tuple[Precision, int], ...] = (("fp32", 0), ("int8", 1))
    for precision, failing in cases:
        checks = check._check_file(folder, "mimi_decoder.tflite", precision, "fp32")
        wrong = [c for c in checks if not c.passed]
        assert len(wrong) == failing and all("other bits" in c.what for c in wrong)


def test_gate_sees_a_wrong_weight(tmp_path: Path) -> None:
    """Damage one weight of the decoder: every earlier check passes, the numbers do not."""
    folder = copy_of_export(tmp_path)
    path = folder / "mimi_decoder.tflite"
    blob = bytearray(path.read_bytes())
    source = build.open_model(str(tiny_model_folder()))
    tensors = source.load_tensors()
    weights = build.flow_lm_weights(tensors, source.config)
    part = build.make_parts(weights, tensors, source, OPTIONS)[1]
    weight = np.ascontiguousarray(part.signatures[0].weights.tree["convolutions"][-1]["weight"])
    pattern = weight.reshape(-1)[:8].tobytes()
    at = blob.find(pattern)
    assert at >= 0
    blob[at : at + len(pattern)] = (weight.reshape(-1)[:8] * 1.01).tobytes()
    path.write_bytes(blob)
    checks = validate.validate(folder, [part], tensors, source, "fp32")
    assert any(not c.passed and c.what.startswith("audio: relative") for c in checks)


def test_check_accepts_the_folder_and_names_what_is_wrong(tmp_path: Path) -> None:
    assert check_folder(tiny_export(), None) == []
    folder = copy_of_export(tmp_path)
    path = folder / "flow_lm.tflite"
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.write_bytes(blob)
    with pytest.raises(CheckpointError, match="flow_lm.tflite is damaged"):
        check_folder(folder, None)


def test_check_refuses_the_options_of_an_export(tmp_path: Path) -> None:
    for option in ("--precision", "--decoder"):
        given = ["--check", str(tmp_path), option, "int8"]
        result = CliRunner().invoke(tflite.app, given)
        assert result.exit_code == 1 and f"leave out {option}" in result.output


def test_a_model_without_an_encoder_has_none_to_export() -> None:
    with pytest.raises(ConfigError, match="leave out --with-encoder"):
        build.open_model(None, with_encoder=True)


def test_command_line_says_what_went_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "exporters.tflite", "--check", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "manifest.json" in result.stderr and "Traceback" not in result.stderr


def test_of_draws_the_median_counts_but_a_number_that_is_not_finite_always_does() -> None:
    expected = np.ones(3)
    draws = [Difference.of(expected, expected + error) for error in (9.0, 0.1, 0.2)]
    assert median(draws).largest == pytest.approx(0.2)
    broken = Difference.of(expected, np.array([1, np.nan, 1]))
    assert median([*draws, broken, *draws]) is broken
