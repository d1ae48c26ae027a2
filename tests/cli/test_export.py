"""The command `export`, and what uses its export afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pocket_tts_jax.testing.tiny_model import write_model
from tests.cli_stub import run_cli
from tests.folders import ROOT

QUANTIZED = """
import sys
from pocket_tts_jax import TTSModel

model = TTSModel.load_model(model=sys.argv[1], quantize=True)
print(model.engine.name, model.engine.precision)
"""


def run(*arguments: object, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "XDG_CACHE_HOME": str(cache),
        "PYTHONPATH": str(ROOT),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=cache)


def test_a_folder_without_weights(tmp_path: Path):
    result = run_cli("export", "--model", str(tmp_path))
    assert result.exit_code == 1
    assert f"There is no model.safetensors in {tmp_path}" in result.stderr


@pytest.mark.slow
def test_an_export_is_made_once_and_speaks_from_then_on(tmp_path: Path):
    model = write_model(tmp_path / "model")
    speak = ["-m", "pocket_tts_jax", "generate", "one two", "--model", model, "-o", "a.wav"]
    before = run(*speak, cache=tmp_path)
    assert before.returncode == 0 and "jax" in before.stderr, before.stderr
    assert f"pocket-tts-jax export --model {model}" in before.stderr
    export = ["-m", "pocket_tts_jax", "export", "--model", model, "--decoder", "int8"]
    made = run(*export, cache=tmp_path)
    assert made.returncode == 0 and "checks passed" in made.stderr, made.stderr
    again = run(*export, cache=tmp_path)
    assert again.returncode == 0 and "checks passed" not in again.stderr, again.stderr
    after = run(*speak, cache=tmp_path)
    assert after.returncode == 0 and "litert int8, decoder int8" in after.stderr, after.stderr
    quantized = run("-c", QUANTIZED, model, cache=tmp_path)
    assert quantized.stdout.strip() == "litert int8, decoder int8", quantized.stderr
    assert "Making" not in quantized.stderr
