"""What an export holds, and that the gate keeps wrong ones out."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporters import build, flatbuffer, validate
from exporters.build import Options
from exporters.check import check_folder
from exporters.tflite import export
from pocket_tts_jax.errors import CheckpointError, ConfigError
from pocket_tts_jax.export_folder import open_folder
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
    folder = tiny_export()
    manifest = open_folder(folder).manifest
    weights = (tiny_model_folder() / "model.safetensors").stat().st_size
    models = sum(e["size"] for n, e in manifest["files"].items() if n.endswith(".tflite"))
    graphs = 200_000 * 16  # operators and names of some sixteen signatures
    assert models < 1.05 * weights + graphs


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
    [{"precision": "int3"}, {"max_frames": 3}, {"max_frames": 10**6}, {"via": "onnx"}],
)
def test_wrong_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Options(**wrong)


def test_gate_sees_a_wrong_weight(tmp_path: Path) -> None:
    """Damage one weight of the decoder: every earlier check passes, the numbers do not."""
    folder = copy_of_export(tmp_path)
    path = folder / "mimi_decoder.tflite"
    blob = bytearray(path.read_bytes())
    source = build.open_model(str(tiny_model_folder()))
    tensors = source.load_tensors()
    part = build.make_parts(
        build.flow_lm_weights(tensors, source.config), tensors, source.config, OPTIONS
    )[1]
    weight = np.ascontiguousarray(part.signatures[0].weights.tree["convolutions"][-1]["weight"])
    pattern = weight.reshape(-1)[:8].tobytes()
    at = blob.find(pattern)
    assert at >= 0
    blob[at : at + len(pattern)] = (weight.reshape(-1)[:8] * 1.01).tobytes()
    path.write_bytes(blob)
    checks = validate.validate(folder, [part], tensors, source.config, "fp32")
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


def test_command_line_says_what_went_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "exporters.tflite", "--check", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "manifest.json" in result.stderr and "Traceback" not in result.stderr
