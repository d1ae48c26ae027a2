"""ELU is one operation in an exported file, and only ELU is."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from exporters.convert import litert
from exporters.gate.inspect_file import inspect
from exporters.graph.signature import Signature, Tensor, Weights
from pocket_tts_jax.model.conv import elu

Function = Callable[[jax.Array], jax.Array]
SHAPE = (3, 40)


def converted(function: Function, path: Path) -> Path:
    tensor = Tensor("x", SHAPE)
    signature = Signature(
        "f", lambda _, x: (function(x),), Weights({}), (tensor,), (Tensor("y", SHAPE),)
    )
    litert.convert([signature], path)
    return path


def run(path: Path, x: np.ndarray) -> np.ndarray:
    call = Interpreter(str(path)).get_signature_runner("f")
    (y,) = call(x=x).values()
    return y


def twice(x: jax.Array) -> jax.Array:
    return elu(2 * elu(x))


def test_elu_becomes_one_operation(tmp_path: Path) -> None:
    path = converted(twice, tmp_path / "elu.tflite")
    assert inspect(path).operations == {"ELU": 2, "MUL": 1}
    x = np.linspace(-20, 20, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    np.testing.assert_allclose(run(path, x), twice(jnp.asarray(x)), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.maximum(x, jnp.exp(jnp.minimum(x, 0)) - 2),
        lambda x: jnp.maximum(x, jnp.exp(jnp.minimum(x, 1)) - 1),
        lambda x: jnp.maximum(x + 1, jnp.exp(jnp.minimum(x, 0)) - 1),
        lambda x: jnp.maximum(x, jnp.exp(jnp.maximum(x, 0)) - 1),
    ],
)
def test_what_is_not_elu_stays(function: Function, tmp_path: Path) -> None:
    path = converted(function, tmp_path / "other.tflite")
    assert "ELU" not in inspect(path).operations
    x = np.linspace(-3, 3, np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    np.testing.assert_allclose(run(path, x), function(jnp.asarray(x)), atol=1e-5, rtol=1e-5)
