"""Converts signatures to a `.tflite` flatbuffer. The only file that uses the converter."""

# pyright: reportAttributeAccessIssue=false
# The converter's bindings are compiled and come without types.

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from exporters.graph.signature import Signature


def convert(signatures: Sequence[Signature], path: Path) -> None:
    """Lower every signature to StableHLO and convert all of them into one file.

    Arrays that several signatures share are stored once.
    """
    from litert_converter.mlir import ir, passmanager
    from litert_converter.mlir._mlir_libs import converter_api_ext as api

    context = ir.Context()
    api.prepare_mlir_context(context)
    modules = [_module(signature, context, ir, api) for signature in signatures]
    merged = api.merge_modules(modules)
    with context:
        api.run_convert_to_tfl_passes(merged, passmanager.PassManager(), api.ConvertToTFLConfig())
        api.export_flatbuffer_to_file(merged.operation, str(path))


def lower(signature: Signature) -> Any:
    """The signature as a StableHLO module, including unused arguments."""
    return jax.jit(signature.bound(), keep_unused=True).lower(*signature.example())


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

    def visit(operation: Any) -> None:
        attributes = operation.attributes
        for key, kind in (("sym_name", ir.StringAttr), ("callee", ir.FlatSymbolRefAttr)):
            if key in attributes:
                attributes[key] = kind.get(f"{prefix}_{attributes[key].value}")
        for region in operation.regions:
            for block in region.blocks:
                for child in block.operations:
                    visit(child.operation)

    with module.context:
        for operation in module.body.operations:
            visit(operation.operation)
