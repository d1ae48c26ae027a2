"""StableHLO artefacts run without this package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exporters.build import Options
from exporters.stablehlo import export
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from tests.exported import tiny_export, tiny_model_folder

PROGRAM = """
import sys, numpy as np
from jax import export
step = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
inputs = [np.zeros(a.shape, a.dtype) for a in step.in_avals]
inputs[0] += 1
np.save(sys.argv[2], np.asarray(step.call(*inputs)[0]))
assert not any(name.startswith(("pocket_tts_jax", "exporters")) for name in sys.modules)
"""


@pytest.mark.slow
def test_artefacts_reload_elsewhere_and_agree_with_litert(tmp_path: Path) -> None:
    options = Options("fp32", max_frames=64, prefill_lengths=(8,), decoder_frames=(1,))
    export(str(tiny_model_folder()), tmp_path / "out", options)
    described = json.loads((tmp_path / "out" / "signatures.json").read_text())
    for folder, signatures in described.items():
        found = {path.stem for path in (tmp_path / "out" / folder).glob("*.stablehlo")}
        assert found == set(signatures)
    artefact, result = tmp_path / "out" / "mimi_decoder" / "decode_1.stablehlo", tmp_path / "a.npy"
    command = [sys.executable, "-c", PROGRAM, str(artefact), str(result)]
    subprocess.run(command, check=True, cwd=tmp_path)
    engine = LiteRTEngine(tiny_export(), threads=1)
    expected = engine.decoder().decode(np.ones((1, engine.config.latent_dim), np.float32))
    np.testing.assert_allclose(np.load(result)[0], expected, atol=1e-5)
    with pytest.raises(ConfigError, match="exists"):
        export(str(tiny_model_folder()), tmp_path / "out", options)
