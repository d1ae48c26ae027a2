"""Inspects a `.tflite` file: operations, shapes, and the nodes that XNNPACK takes.

`python -m exporters.gate.inspect_file FILE` prints the nodes of each subgraph that XNNPACK does not
take, as JSON.
"""

import json
import mmap
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocket_tts_jax.litert_engine import packed_weights as weight_cache
from pocket_tts_jax.litert_engine.runtime import LiteRTModel, SignatureSpec

_ROOT = Path(__file__).parents[2]  # of the package `exporters`, installed or not


@dataclass(frozen=True)
class Facts:
    """Operations by name, those that are not builtin, the number of tensors without a fixed shape,
    and the products with the bits of their weights."""

    operations: Counter[str]
    foreign: tuple[str, ...]
    dynamic: int
    products: tuple[tuple[str, int], ...]


def inspect(path: Path) -> Facts:
    """Read the flatbuffer."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [_code(names, code) for code in model.operatorCodes]
    operations: Counter[str] = Counter()
    dynamic, products = 0, []
    for subgraph in model.subgraphs:
        products += _products(subgraph, codes, schema.TensorType)
        operations.update(codes[operator.opcodeIndex] for operator in subgraph.operators)
        for tensor in subgraph.tensors:
            signature = tensor.shapeSignature
            dynamic += signature is not None and any(size < 0 for size in signature)
    foreign = tuple(
        sorted(n for n in operations if n.startswith(("CUSTOM", "FLEX", "STABLEHLO", "DELEGATE")))
    )
    return Facts(operations, foreign, dynamic, tuple(products))


def _products(subgraph: Any, codes: list[str], types: Any) -> list[tuple[str, int]]:
    """(name, bits) of each product with weights; 16-bit weights are widened by an operation."""
    bits = {types.FLOAT32: 32, types.FLOAT16: 16, types.INT8: 8, types.INT4: 4}
    makers = {int(out): o for o in subgraph.operators for out in o.outputs}
    found = []
    for operator in subgraph.operators:
        if codes[operator.opcodeIndex] in ("FULLY_CONNECTED", "CONV_2D"):
            weight = int(operator.inputs[1])
            maker = makers.get(weight)
            if maker is not None and codes[maker.opcodeIndex] == "DEQUANTIZE":
                weight = int(maker.inputs[0])
            name = subgraph.tensors[int(operator.outputs[0])].name.decode()
            found.append((name, bits[subgraph.tensors[weight].type]))
    return found


def _code(names: dict[int, str], code: Any) -> str:
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = names.get(number, f"CUSTOM {number}")
    return f"CUSTOM {code.customCode.decode()}" if name == "CUSTOM" else name


def signatures(path: Path) -> dict[str, SignatureSpec]:
    """The signatures as the runtime sees them."""
    model = LiteRTModel(path, threads=1, weight_cache=weight_cache.IN_MEMORY)
    try:
        return model.signatures
    finally:
        model.close()


def undelegated(path: Path) -> dict[str, tuple[int, list[str]]]:
    """{subgraph: (number of nodes, names of those that XNNPACK did not take)}.

    A process of its own finds out: the interpreter packs the weights for every subgraph, and not
    all of that memory comes back.
    """
    command = [sys.executable, "-m", __name__, str(path)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, check=True)
    return {name: tuple(found) for name, found in json.loads(done.stdout).items()}


def _undelegated(path: Path) -> dict[str, tuple[int, list[str]]]:
    """`undelegated` in this process.

    The interpreter shows the nodes of a file's first subgraph only, and it packs the weights of
    all, so each subgraph of a copy is its only one in turn.
    """
    from ai_edge_litert import schema_py_generated as schema

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, folder))
        with open(copy, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
            model: Any = schema.Model.GetRootAs(data, 0)
            names = [model.Subgraphs(i).Name().decode() for i in range(model.SubgraphsLength())]
            # Fields 2 and 7 of the table `Model` are the vectors of subgraphs and of signatures;
            # the length stands before a vector.
            start, signatures = (model._tab.Vector(model._tab.Offset(at)) for at in (8, 18))
            struct.pack_into("<I", data, start - 4, 1)
            struct.pack_into("<I", data, signatures - 4, 0)
            offsets = struct.unpack_from(f"<{len(names)}I", data, start)  # each from its own place
            for index, name in enumerate(names):
                struct.pack_into("<I", data, start, 4 * index + offsets[index])
                data.flush()
                found[name] = _first_subgraph(copy)
            del model
    return found


def _first_subgraph(path: Path) -> tuple[int, list[str]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    kept = [node for node in nodes if node["op_name"] != "DELEGATE"]
    makers = {int(out): node for node in kept for out in node["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        given, wanted = set(map(int, delegate["inputs"])), list(map(int, delegate["outputs"]))
        while wanted:
            tensor = wanted.pop()
            if tensor in given or tensor not in makers or makers[tensor]["index"] in taken:
                continue
            taken.add(makers[tensor]["index"])
            wanted += map(int, makers[tensor]["inputs"])
    return len(kept), [node["op_name"] for node in kept if node["index"] not in taken]


if __name__ == "__main__":
    print(json.dumps(_undelegated(Path(sys.argv[1]))))
