"""Gives ELU its own operation: max(x, exp(min(x, 0)) − 1), four passes over x, becomes one.

The converter knows the operation, but no pattern of StableHLO that stands for it.
"""

from typing import Any

import numpy as np

from exporters.convert.walk import operations

# What computes each step's last operand, from the outside in, and the constant beside it.
_CHAIN = (("tfl.sub", 1.0), ("tfl.exp", None), ("tfl.minimum", 0.0))


def fuse_elu(module: Any, ir: Any) -> None:
    """Replace each ELU of a converted module, in place."""
    found = [
        (operation, chain)
        for operation in operations(module.operation)
        if operation.name == "tfl.maximum" and (chain := _chain(operation, ir)) is not None
    ]
    for maximum, chain in found:
        x = maximum.operands[0]
        elu = ir.Operation.create(
            "tfl.elu",
            results=[x.type],
            operands=[x],
            loc=maximum.location,
            ip=ir.InsertionPoint(maximum),
        )
        maximum.results[0].replace_all_uses_with(elu.results[0])
        for operation in (maximum, *chain):
            operation.erase()


def _chain(maximum: Any, ir: Any) -> list[Any] | None:
    """The operations between x and max(x, …), if they are ELU's."""
    x, inner = maximum.operands
    chain = []
    for name, constant in _CHAIN:
        operation = _owner(inner, ir)
        if operation is None or operation.name != name or len(list(inner.uses)) != 1:
            return None
        if constant is not None and _constant(operation.operands[1], ir) != constant:
            return None
        chain.append(operation)
        inner = operation.operands[0]
    return chain if inner == x else None


def _owner(value: Any, ir: Any) -> Any | None:
    """The operation that computes `value`; None for an input of a function."""
    return None if isinstance(value.owner, ir.Block) else value.owner.operation


def _constant(value: Any, ir: Any) -> float | None:
    """The number that `value` is, if it is one constant number."""
    operation = _owner(value, ir)
    if operation is None or "value" not in operation.attributes:
        return None
    numbers = np.unique(np.array(operation.attributes["value"]))
    return float(numbers[0]) if numbers.size == 1 else None
