"""Walks through the operations of an MLIR module."""

from collections.abc import Iterator
from typing import Any


def operations(operation: Any) -> Iterator[Any]:
    """All operations inside `operation`, the outer before the inner."""
    for region in operation.regions:
        for block in region.blocks:
            for child in block.operations:
                yield child.operation
                yield from operations(child.operation)
