"""What the repository promises about itself: public names, and who imports whom."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pocket_tts_jax
from tests.folders import ROOT

PACKAGE = ROOT / "pocket_tts_jax"
# The rooms of the package, from the ground up. A room imports itself and the rooms before it.
ROOMS = (
    *("errors", "shapes", "files", "config", "audio", "model", "weights", "text", "voice"),
    *("alignment", "captions", "generation", "workers", "jax_engine", "litert_engine"),
    *("open_model", "tts_model", "testing", "book", "bulk", "server", "cli", "pocket_engine"),
)
# What stands on the package, from the ground up.
ABOVE = ("pocket_tts_jax", "exporters", "training", "benchmarks", "examples", "tests")
NEED_JAX = ("model", "jax_engine", "testing")
FORBIDDEN = {"torch", "tensorflow", "torchaudio", "pocket_tts"}
# Nothing of the machine that a file was written on, and no host that only one network has.
PRIVATE = re.compile(r"/(work|home|root|Users|mnt)/\w|/tmp/\w+\.(py|wav)|\.internal\b|localhost:\d")


def sources(folder: str) -> list[Path]:
    """Every Python file under a folder; a folder without any is a mistake in this test."""
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no Python file"
    return found


SOURCES = [path for folder in ABOVE for path in sources(folder)]
TEXTS = sorted(
    path
    for pattern in ("run", ".ci/run", "*.md", "*.toml", "*/*.md", "requirements/*", "**/*.ipynb")
    for path in ROOT.glob(pattern)
    if ".venv" not in path.parts
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """`pocket_tts_jax.text.numbers.words` is in the room `text`."""
    return module.split(".")[1] if "." in module else ""


PACKAGE_MODULES = {module_of(path): path for path in sources("pocket_tts_jax")}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, within functions too; `from package import module` counts
    as the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = names & PACKAGE_MODULES.keys()
            found |= modules
            if names - modules:
                found.add(node.module)
    return found


def upward(module: str, path: Path) -> list[str]:
    """What a module imports from rooms above its own."""
    place = ROOMS.index(room_of(module))
    targets = {name for name in imports(path) if name.startswith("pocket_tts_jax.")}
    return sorted(name for name in targets if ROOMS.index(room_of(name)) > place)


def test_public_names():
    assert pocket_tts_jax.__all__ == sorted(pocket_tts_jax.__all__)
    assert "TTSModel" in pocket_tts_jax.__all__
    for name in pocket_tts_jax.__all__:
        assert getattr(pocket_tts_jax, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pocket_tts_jax.nothing  # noqa: B018


def test_every_room_is_in_the_list():
    found = {room_of(module) for module in PACKAGE_MODULES} - {"", "__main__"}
    assert found == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_downwards(room: str):
    modules = {m: path for m, path in PACKAGE_MODULES.items() if room_of(m) == room}
    assert modules
    assert {m: names for m, path in modules.items() if (names := upward(m, path))} == {}


def test_an_upward_import_is_seen(tmp_path: Path):
    """The check itself, on an import that it must refuse, at the top and inside a function."""
    for text in (
        "from pocket_tts_jax.cli.app import main\n",
        "def f():\n    from pocket_tts_jax import open_model\n",
    ):
        path = tmp_path / "wrong.py"
        path.write_text(text, encoding="utf-8")
        assert upward("pocket_tts_jax.files.wrong", path)


@pytest.mark.parametrize("index", range(len(ABOVE) - 1), ids=lambda index: ABOVE[index])
def test_folders_import_downwards(index: int):
    higher = set(ABOVE[index + 1 :])
    for path in sources(ABOVE[index]):
        assert not {name.split(".")[0] for name in imports(path)} & higher, path


def test_no_circles():
    """The imports of the package's files form no circle, not even those within functions."""
    own = PACKAGE_MODULES.keys() - {"pocket_tts_jax"}  # its files take only the version from it
    edges = {module: imports(path) & own - {module} for module, path in PACKAGE_MODULES.items()}
    assert sum(map(len, edges.values())) > 100
    done: set[str] = set()
    while ready := {m for m in edges if m not in done and edges[m] <= done}:
        done |= ready
    assert done == set(edges), f"in a circle: {sorted(set(edges) - done)}"


@pytest.mark.parametrize("path", SOURCES + TEXTS, ids=name_of)
def test_nothing_of_this_machine(path: Path):
    if path != Path(__file__):
        text = path.read_text(encoding="utf-8")
        assert not PRIVATE.search(text), PRIVATE.search(text)


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.relative_to(ROOT).parts[0] != "tests"], ids=name_of
)
def test_no_other_framework(path: Path):
    """Tests and benchmarks compare with the reference in processes and functions of their own."""
    if path.relative_to(ROOT).parts[0] == "benchmarks":
        return
    allowed = {"tensorflow"} if path.name == "jax2tf.py" else set()
    assert not {name.split(".")[0] for name in imports(path)} & (FORBIDDEN - allowed)
    source = path.read_text(encoding="utf-8")
    assert "from __future__ import annotations" not in source  # shapes are checked at run time
    assert 'os.environ.get("POCKET' not in source  # options are arguments


WITHOUT_JAX = [
    module
    for module in sorted(PACKAGE_MODULES)
    if room_of(module) not in NEED_JAX and not module.endswith("__main__")
]


def test_no_jax_under_the_litert_engine():
    """In a process where JAX cannot be imported: the base installation has none."""
    script = (
        "import importlib, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('jax', 'flax', 'jaxtyping', 'torch', 'tensorflow'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"for name in {WITHOUT_JAX!r}:\n"
        "    importlib.import_module(name)\n"
        "print(len(sys.modules))\n"
    )
    assert len(WITHOUT_JAX) > 40
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr


def test_public_modules_stay():
    for name in (
        *("pocket_tts_jax.pocket_engine", "exporters.tflite", "exporters.stablehlo"),
        *(f"benchmarks.{name}" for name in ("compare", "step", "latency", "soak", "throughput")),
        *(f"training.{name}" for name in ("codec", "encode", "evaluate", "export", "finetune")),
        *(f"training.{name}" for name in ("flow_lm", "frames", "mel_codec", "plot", "tokens")),
        "tests.parity",
    ):
        assert importlib.util.find_spec(name) is not None, name
