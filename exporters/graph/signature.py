"""One function of an exported file: what runs, on which weights, and what goes in and comes out."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from exporters.graph.fold import Tree

FLOAT, INT = "float32", "int32"
# For functions that run some fifty times: compiling them took longer than all else.
COMPILE_FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@dataclass(frozen=True)
class Tensor:
    """Name, shape and dtype of an input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str = FLOAT


@dataclass(frozen=True)
class Weights:
    """A tree of weights, copied once for JAX however many functions read it."""

    tree: Tree

    @functools.cached_property
    def leaves(self) -> tuple[list, list, Any]:
        """Every leaf, the arrays among them on the device (None elsewhere), and the structure."""
        leaves, structure = jax.tree.flatten(self.tree)
        arrays = [jnp.asarray(x) if isinstance(x, np.ndarray) else None for x in leaves]
        return leaves, arrays, structure


@dataclass(frozen=True)
class Signature:
    """One entry point: a function of weights and positional arrays, and what they are called."""

    name: str
    function: Callable[..., tuple]
    weights: Weights
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def example(self) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct(t.shape, np.dtype(t.dtype)) for t in self.inputs]

    def bound(self) -> Callable[..., tuple]:
        """The function with its weights as constants, which is what is exported."""
        return functools.partial(self.function, self.weights.tree)

    @functools.cached_property
    def compiled(self) -> Callable[..., tuple]:
        """The function for use in JAX: the weights are arguments there, so that XLA does not
        spend minutes on them."""
        leaves, arrays, structure = self.weights.leaves

        @functools.partial(jax.jit, compiler_options=COMPILE_FAST)
        def run(arrays: list, *inputs: Any) -> tuple:
            pairs = zip(arrays, leaves, strict=True)
            merged = [leaf if array is None else array for array, leaf in pairs]
            return self.function(jax.tree.unflatten(structure, merged), *inputs)

        return functools.partial(run, arrays)

    def run(self, *inputs: Any) -> tuple:
        """The function in JAX, operation by operation: for a few calls, without compiling it."""
        leaves, arrays, structure = self.weights.leaves
        pairs = zip(arrays, leaves, strict=True)
        merged = [leaf if array is None else array for array, leaf in pairs]
        return self.function(jax.tree.unflatten(structure, merged), *map(jnp.asarray, inputs))

    def state_names(self) -> list[str]:
        """Tensors that go in under the name under which they come out."""
        names = {tensor.name for tensor in self.outputs}
        return [tensor.name for tensor in self.inputs if tensor.name in names]
