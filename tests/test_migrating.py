"""What docs/migrating.md and docs/research.md show works, on a made-up published model."""

import importlib.metadata
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pocket_tts_jax.errors import VoiceError
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.weights import source
from tests.cli_stub import StubModel, run_cli
from tests.documented import blocks
from tests.folders import ROOT
from tests.made_up_hub import make_hub, write_recording

PAGE, RESEARCH = ROOT / "docs" / "migrating.md", ROOT / "docs" / "research.md"
NAMES = ("english", "english_2026-01", "french_24l")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a recording and a voice in it, and a cache of published models."""
    make_hub(tmp_path, NAMES, monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name in ("me.wav", "some_voice.wav", "my_voice.wav"):
        write_recording(Path(name))
    model = TTSModel.load_model("english")
    from pocket_tts_jax import export_model_state

    export_model_state(model.get_state_for_audio_prompt("alba"), "me.safetensors")
    return tmp_path


def run(code: str, names: dict[str, object], page: str) -> None:
    exec(compile(code, page, "exec"), names)


def test_python(hub: Path) -> None:
    """In the order of the page, each block with what the ones before it made."""
    names: dict[str, object] = {}
    ours = blocks(PAGE, "python")
    assert len(ours) >= 12
    for code in ours:
        run(code, names, "docs/migrating.md")
    assert soundfile.info("speech.wav").samplerate == 24000
    with soundfile.SoundFile("speech.flac") as file:
        assert "model=english; voice=alba" in file.comment
    assert len(names["rows"]) == 3  # type: ignore[arg-type]


def test_both_forms_are_shown() -> None:
    theirs = [code for code in blocks(PAGE, "py") if "generate" in code or "voice" in code]
    assert len(theirs) >= 8 and not any("pocket_tts_jax" in code for code in theirs)


@pytest.mark.parametrize(
    "line", [c for block in blocks(PAGE, "bash") for c in block.splitlines() if "-jax " in c]
)
def test_commands(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TTSModel, "load_model", StubModel().load_model)
    monkeypatch.chdir(tmp_path)
    piped, _, command = line.rpartition("| ")
    words = shlex.split(command.split(" > ")[0])
    if words[1] == "export":
        return  # minutes of work; its options are tested with the exporter
    result = run_cli(*words[1:], input=piped or None)
    assert result.exit_code == 0, result.stderr


def test_the_references_own_page(hub: Path) -> None:
    """The Python blocks of the installed reference's description, the import changed, `english`
    named and what is about tensors dropped."""
    try:
        description = importlib.metadata.metadata("pocket-tts")["Description"]
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the reference is not installed")
    codes = re.findall(r"^```python\n(.*?)^```", str(description), re.MULTILINE | re.DOTALL)
    ran = 0
    for code in codes:
        if "cuda" in code:
            continue
        code = code.replace("from pocket_tts ", "from pocket_tts_jax ")
        code = code.replace("load_model()", 'load_model("english")').replace(".numpy()", "")
        run(code, {}, "pocket-tts")
        ran += 1
    assert ran >= 2


def test_without_a_model_the_error_names_the_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "EMBEDDED", write_model(tmp_path / "m", has_voice_cloning=False))
    model = TTSModel.load_model(engine="jax", compilation_cache=False)
    for voice in ("alba", "hf://kyutai/tts-voices/alba-mackenna/casual.wav", b"RIFF"):
        with pytest.raises(VoiceError, match=r'TTSModel\.load_model\("english"\)') as caught:
            model.get_state_for_audio_prompt(voice)
        assert "A recording or" not in str(caught.value)


def test_a_configuration_of_ones_own_clones_a_recording(hub: Path) -> None:
    shutil.copy(hub / "configs" / "english.yaml", "mine.yaml")
    model = TTSModel.load_model(config="mine.yaml")
    assert model.default_voice().endswith("alba-mackenna/casual.wav")
    result = run_cli("generate", "Hello.", "--config", "mine.yaml", "-o", "a.wav")
    assert result.exit_code == 0, result.stderr
    assert soundfile.info("a.wav").frames > 0


def test_research(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "embedded", default_voice="tiny")
    monkeypatch.setattr(source, "EMBEDDED", folder)
    names: dict[str, object] = {}
    for code in blocks(RESEARCH, "python"):
        run(code, names, "docs/research.md")
    samples = np.asarray(names["samples"])
    assert samples.shape == (12 * 1920,) and np.isfinite(samples).all()
