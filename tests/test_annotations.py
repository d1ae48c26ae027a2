"""The shapes in the annotations are those that pass through the model."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = (
    *("linear", "rope", "attention", "transformer", "conv", "seanet", "mimi", "flow_net"),
    *("flow_lm", "parameters", "checkpoint"),
)


MODEL_TESTS = ("tests/test_ladder.py", "tests/test_streaming_lm.py", "tests/test_streaming.py")
LITERT = ("kv_cache", "litert_flow_lm", "litert_mimi", "litert_engine", "voices")
LITERT_TESTS = ("tests/test_litert_engine.py",)


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
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
