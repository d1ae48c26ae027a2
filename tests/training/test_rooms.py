"""Imports between the rooms of training point one way."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.folders import ROOT

# Each may import those before it. Commands come last; no room imports one.
ORDER = ("errors", "command_line", "data", "loop", "batches", "losses", "judging")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_rooms_import_what_lies_below():
    found = 0
    for place, room in enumerate(ORDER):
        base = ROOT / "training" / room
        files = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
        for path in files:
            for name in imported(path):
                if name.startswith("training."):
                    found += 1
                    assert name.split(".")[1] in ORDER[: place + 1], f"{path} imports {name}"
    assert found > 40
