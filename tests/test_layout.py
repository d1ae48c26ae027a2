"""What the package promises about itself: its public names, its size, and who imports whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pocket_tts_jax

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pocket_tts_jax"
SOURCES = sorted(
    path
    for folder in ("pocket_tts_jax", "exporters", "benchmarks", "training", "tests", "examples")
    for path in (ROOT / folder).rglob("*.py")
)
TEXTS = sorted(
    path
    for pattern in ("run", ".ci/run", "*.md", "*.toml", "*/*.md", "requirements/*", "**/*.ipynb")
    for path in ROOT.glob(pattern)
    if ".venv" not in path.parts
)
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
LONGEST_FILE, LONGEST_FUNCTION = 300, 60

# The model in JAX, from the bottom up: each may import those before it.
MODEL = (
    *("linear", "rope", "attention", "transformer", "conv", "seanet", "mimi", "flow_net"),
    *("flow_lm", "engine", "batch", "model"),
)
LEAVES = (
    *("errors", "config", "parameters", "checkpoint", "hub", "tokenizer", "text", "audio"),
    *("noise", "voices", "generate"),
)
FORBIDDEN = {"torch", "tensorflow", "torchaudio", "pocket_tts"}
# Nothing of the machine that a file was written on, and no host that only one network has.
PRIVATE = re.compile(r"/(work|home|root|Users|mnt)/\w|/tmp/\w+\.(py|wav)|\.internal\b|localhost:\d")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_public_names():
    assert pocket_tts_jax.__all__ == sorted(pocket_tts_jax.__all__)
    assert "TTSModel" in pocket_tts_jax.__all__
    for name in pocket_tts_jax.__all__:
        assert getattr(pocket_tts_jax, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pocket_tts_jax.nothing  # noqa: B018


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_sizes(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_FILE
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES + TEXTS, ids=name_of)
def test_nothing_of_this_machine(path: Path):
    if path != Path(__file__):
        text = path.read_text(encoding="utf-8")
        assert not PRIVATE.search(text), PRIVATE.search(text)


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(PACKAGE)], ids=name_of)
def test_what_a_package_file_may_import(path: Path):
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & FORBIDDEN
    assert not roots & {"tests", "training", "benchmarks"}
    source = path.read_text(encoding="utf-8")
    assert "from __future__ import annotations" not in source
    assert 'os.environ.get("POCKET' not in source  # options are arguments


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if p.parts[len(ROOT.parts)] in ("exporters", "training")],
    ids=name_of,
)
def test_what_exporters_and_training_may_import(path: Path):
    """They need no other framework; the exporter's second route is named for what it needs."""
    allowed = {"tensorflow"} if path.name == "jax2tf.py" else set()
    assert not {name.split(".")[0] for name in imports(path)} & (FORBIDDEN - allowed)


@pytest.mark.parametrize("index", range(len(MODEL)), ids=lambda i: MODEL[i])
def test_the_model_imports_one_way(index: int):
    path = PACKAGE / f"{MODEL[index]}.py"
    if not path.exists():
        pytest.skip(f"{path.name} is not there yet")
    later = {f"pocket_tts_jax.{name}" for name in MODEL[index + 1 :]}
    assert not imports(path) & later


def test_no_cycles():
    """Imports between the package's files form no circle."""
    edges = {
        name: {
            target.split(".")[1]
            for target in module_level_imports(PACKAGE / f"{name}.py")
            if target.startswith("pocket_tts_jax.")
        }
        & set(MODULES)
        for name in MODULES
    }
    done: set[str] = set()
    while ready := {name for name in edges if name not in done and edges[name] <= done}:
        done |= ready
    assert done == set(MODULES), f"in a circle: {sorted(set(MODULES) - done)}"


def module_level_imports(path: Path) -> set[str]:
    found = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("name", LEAVES)
def test_leaves_do_not_import_jax(name: str):
    """In a process of its own: the LiteRT engine is for machines that have no JAX."""
    if not (PACKAGE / f"{name}.py").exists():
        pytest.skip(f"{name}.py is not there yet")
    script = (
        f"import sys, pocket_tts_jax.{name}; "
        "print(*sorted({'jax', 'flax', 'torch', 'tensorflow'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not result.stdout.split()
