"""What the README shows works: its Python runs, its commands are accepted, its paths exist."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest

from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.weights import source
from tests.book.made_up import HummingModel
from tests.cli_stub import StubModel, run_cli
from tests.folders import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def small_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_model(tmp_path_factory.mktemp("readme") / "embedded", default_voice="joe")
    shutil.move(folder / "voices" / "tiny.safetensors", folder / "voices" / "joe.safetensors")
    return folder


@pytest.mark.parametrize("index", range(len(blocks("python"))))
def test_python(
    index: int, small_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block by itself, with random weights in place of the embedded voice."""
    monkeypatch.setattr(source, "EMBEDDED", small_voice)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(blocks("python")[index], "README.md", "exec"), names)
    if index == 0:
        assert (tmp_path / "output.wav").stat().st_size > 44


@pytest.mark.parametrize("line", [c for c in commands() if re.search(r"(^|\| )pocket-tts-jax ", c)])
def test_commands(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command with a stub for the model, but for a corpus, which processes speak."""
    if "pocket-tts-jax synthesize" not in line:
        model = HummingModel() if "pocket-tts-jax book" in line else StubModel()
        monkeypatch.setattr(TTSModel, "load_model", model.load_model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text("A book.", encoding="utf-8")
    (tmp_path / "corpus.jsonl").write_text('{"id": "a", "text": "Hi."}\n', encoding="utf-8")
    piped, _, command = line.rpartition("| ")
    words = shlex.split(command.split(" > ")[0])
    assert words[0] == "pocket-tts-jax"
    result = run_cli(*words[1:], input=piped or None)
    assert result.exit_code == 0, result.stderr


def test_other_commands() -> None:
    """`./run` knows what it is asked; modules that are named exist."""
    script = (ROOT / "run").read_text(encoding="utf-8")
    asked = re.findall(r"\./run (\w+)", README)
    assert {"speak", "test"} <= set(asked)
    assert all(f"= {name} ]" in script for name in asked)
    modules = set(re.findall(r"python -m ((?:benchmarks|exporters|tests|training)\.\w+)", README))
    assert len(modules) > 5
    assert all(importlib.util.find_spec(name) for name in modules), modules


def test_paths() -> None:
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    for name in re.findall(r"[`(]([\w./-]+\.(?:py|md))[`)]", README):
        assert (ROOT / name).exists() or (ROOT / "pocket_tts_jax" / name).exists(), name


def test_tests_are_what_ci_calls() -> None:
    assert re.search(r"^step .* \./run test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
