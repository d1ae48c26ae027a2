"""The shapes in the annotations are those that pass through the model."""

import os
import subprocess
import sys

import pytest

from tests.folders import ROOT

MODEL = (
    *(f"model.{name}" for name in ("layers", "rope", "attention", "transformer", "conv")),
    *(f"model.{name}" for name in ("seanet", "mimi", "flow_head", "flow_lm")),
    *("weights.expected", "weights.checkpoint"),
)
MODEL_TESTS = (
    "tests/model/test_ladder.py",
    "tests/model/test_streaming_lm.py",
    "tests/model/test_streaming.py",
)
LITERT = (
    *(f"litert_engine.{name}" for name in ("caches", "flow_lm", "mimi", "engine")),
    "voice.state",
)
LITERT_TESTS = ("tests/litert_engine/test_engine.py",)


@pytest.mark.slow
@pytest.mark.parametrize("modules, tests", [(MODEL, MODEL_TESTS), (LITERT, LITERT_TESTS)])
def test_annotations_hold(modules: tuple[str, ...], tests: tuple[str, ...]):
    """Tests once more, in a process where jaxtyping checks every call.

    Of the JAX side only the model's own files: others hand NumPy arrays to it, which JAX takes as
    well.
    """
    pytest.importorskip("beartype")
    checked = ",".join(f"pocket_tts_jax.{name}" for name in modules)
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        f"--jaxtyping-packages={checked},beartype.beartype",
        *tests,
    ]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # shapes need none
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
