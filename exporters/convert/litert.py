"""Converts signatures to a `.tflite` flatbuffer. The only file that uses the converter.

The converter needs seconds for each copy of the weights, and each signature has a copy. So it gets
stand-ins: arrays of the same shapes, filled with one number each, a different one for each weight.
They cost almost nothing, and are replaced by the weights in the finished file.
"""

# pyright: reportAttributeAccessIssue=false
# The converter's bindings are compiled and come without types.

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from exporters.convert.elu import fuse_elu
from exporters.convert.walk import operations
from exporters.graph.signature import Signature, Weights

_LARGE = 2**16  # numbers
# No other constant of a graph is filled with one of these numbers.
_FIRST, _NEXT = np.float32(1.03125), np.float32(2**-14)


def convert(signatures: Sequence[Signature], path: Path) -> None:
    """Lower every signature to StableHLO and convert all of them into one file.

    Arrays that several signatures share are stored once.
    """
    from litert_converter.mlir import ir, passmanager
    from litert_converter.mlir._mlir_libs import converter_api_ext as api

    context = ir.Context()
    api.prepare_mlir_context(context)
    weights = _shared(signatures)
    stand_ins = _StandIns(weights)
    modules = [_module(stand_ins.into(signature), context, ir, api) for signature in signatures]
    merged = api.merge_modules(modules)
    config = api.ConvertToTFLConfig()
    # Skip its check of every constant for finite numbers: the gate does that.
    config.canonicalizing_inf_as_min_max_float = False
    with context:
        api.run_convert_to_tfl_passes(merged, passmanager.PassManager(), config)
        fuse_elu(merged, ir)
        api.export_flatbuffer_to_file(merged.operation, str(path))
    stand_ins.replace(path)


def lower(signature: Signature) -> Any:
    """The signature as a StableHLO module, including unused arguments."""
    return jax.jit(signature.bound(), keep_unused=True).lower(*signature.example())


def _shared(signatures: Sequence[Signature]) -> Weights:
    """The weights that the signatures of a file share."""
    (weights,) = {id(signature.weights): signature.weights for signature in signatures}.values()
    return weights


class _StandIns:
    """Replaces each large matrix of a tree of weights by an array filled with one number.

    Vectors and small matrices are kept, because the converter folds them into other constants.
    """

    def __init__(self, weights: Weights) -> None:
        self._leaves, self._structure = jax.tree.flatten(weights.tree)
        matrices = [x for x in self._leaves if isinstance(x, np.ndarray) and x.size >= _LARGE]
        self._numbers = {id(x): _FIRST + i * _NEXT for i, x in enumerate(matrices)}
        self._matrices = {float(self._numbers[id(x)]): x for x in matrices}

    def into(self, signature: Signature) -> Signature:
        """The signature with stand-ins for its matrices."""

        def function(_: Any, *inputs: Any) -> tuple:
            leaves = [
                jnp.full(leaf.shape, self._numbers[id(leaf)]) if id(leaf) in self._numbers else leaf
                for leaf in self._leaves
            ]
            return signature.function(jax.tree.unflatten(self._structure, leaves), *inputs)

        return dataclasses.replace(signature, function=function)

    def replace(self, path: Path) -> None:
        """Replace the stand-ins by the matrices. Raises ValueError if the converter changed one."""
        from ai_edge_litert import schema_py_generated as schema

        data = np.memmap(path, np.uint8, "r+")
        model: Any = schema.Model.GetRootAs(data, 0)
        for index in range(model.BuffersLength()):
            _fill(model.Buffers(index).DataAsNumpy(), self._matrices)
        data.flush()


def _fill(buffer: Any, matrices: dict[float, np.ndarray]) -> None:
    if not isinstance(buffer, np.ndarray) or buffer.nbytes % 4:  # empty, or no float32
        return
    values = buffer.view(np.float32)
    matrix = matrices.get(float(values[0]))
    if matrix is not None and matrix.size == values.size and (values == values[0]).all():
        values[:] = matrix.reshape(-1)
    elif float(values.min()) in matrices:
        raise ValueError(
            f"a weight {matrices[float(values.min())].shape} became {values.size} numbers"
        )


def _module(signature: Signature, context: Any, ir: Any, api: Any) -> Any:
    bytecode = io.BytesIO()
    lower(signature).compiler_ir("stablehlo").operation.write_bytecode(bytecode)
    with context:
        module = ir.Module.parse(bytecode.getvalue())
    # Must come before renaming: it looks for the function `main` and crashes without it.
    api.set_signature(
        module.operation,
        signature_name=signature.name,
        input_names=[tensor.name for tensor in signature.inputs],
        output_names=[tensor.name for tensor in signature.outputs],
    )
    _make_unique(module, signature.name, ir)
    return module


def _make_unique(module: Any, prefix: str, ir: Any) -> None:
    """Prefix every symbol, and every call of one, so that merged modules do not collide."""
    with module.context:
        for operation in operations(module.operation):
            attributes = operation.attributes
            for key, kind in (("sym_name", ir.StringAttr), ("callee", ir.FlatSymbolRefAttr)):
                if key in attributes:
                    attributes[key] = kind.get(f"{prefix}_{attributes[key].value}")
