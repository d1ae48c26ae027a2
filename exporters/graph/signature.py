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
# For functions that run about fifty times: with all optimisations compiling takes longer than that.
COMPILE_FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@dataclass(frozen=True)
class Tensor:
    """Name, shape and dtype of an input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str = FLOAT


_ALIGNMENT = 64  # bytes; JAX's CPU uses such arrays as they are


def aligned(tree: Tree) -> Tree:
    """The tree with its large arrays where JAX need not copy them."""

    def move(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray) or leaf.nbytes < 2**16:
            return leaf
        room = np.empty(leaf.nbytes + _ALIGNMENT, np.uint8)
        start = -room.ctypes.data % _ALIGNMENT
        moved = room[start : start + leaf.nbytes].view(leaf.dtype).reshape(leaf.shape)
        moved[...] = leaf
        return moved

    return jax.tree.map(move, tree)


@dataclass(frozen=True)
class Weights:
    """A tree of weights, given to the device once for all functions. Nothing may change them."""

    tree: Tree

    @functools.cached_property
    def leaves(self) -> tuple[list, list, Any]:
        """All leaves, their arrays on the device (None for other leaves), and the structure."""
        leaves, structure = jax.tree.flatten(self.tree)
        arrays = [
            jax.device_put(x, may_alias=True) if isinstance(x, np.ndarray) else None for x in leaves
        ]
        return leaves, arrays, structure


@dataclass(frozen=True)
class Signature:
    """One entry point: a function of weights and positional arrays, and the arrays' names."""

    name: str
    function: Callable[..., tuple]
    weights: Weights
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def example(self) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct(t.shape, np.dtype(t.dtype)) for t in self.inputs]

    def bound(self) -> Callable[..., tuple]:
        """The function with its weights as constants, for the export."""
        return functools.partial(self.function, self.weights.tree)

    @functools.cached_property
    def compiled(self) -> Callable[..., tuple]:
        """The compiled function. Its weights are arguments, because XLA spends minutes on large
        constants."""
        leaves, arrays, structure = self.weights.leaves

        @functools.partial(jax.jit, compiler_options=COMPILE_FAST)
        def run(arrays: list, *inputs: Any) -> tuple:
            pairs = zip(arrays, leaves, strict=True)
            merged = [leaf if array is None else array for array, leaf in pairs]
            return self.function(jax.tree.unflatten(structure, merged), *inputs)

        return functools.partial(run, arrays)

    def run(self, *inputs: Any) -> tuple:
        """The function run operation by operation, without compiling: for a few calls."""
        leaves, arrays, structure = self.weights.leaves
        pairs = zip(arrays, leaves, strict=True)
        merged = [leaf if array is None else array for array, leaf in pairs]
        return self.function(jax.tree.unflatten(structure, merged), *map(jnp.asarray, inputs))

    def state_names(self) -> list[str]:
        """Names of the state tensors: inputs that are also outputs."""
        names = {tensor.name for tensor in self.outputs}
        return [tensor.name for tensor in self.inputs if tensor.name in names]
