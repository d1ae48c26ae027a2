"""The commands beside `generate`: voices, models, warmup; and how light the start is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pocket_tts_jax.audio.timbre import Timbre
from pocket_tts_jax.errors import DownloadError
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.voice.load import VoiceLoader, is_voice_file
from pocket_tts_jax.voice.state import VoiceState, read_voice
from pocket_tts_jax.weights.source import open_source
from tests.cli_stub import StubModel
from tests.cli_stub import run_cli as run


def test_warmup(stub: StubModel) -> None:
    result = run("warmup", "--model", "folder", "--sampler-decode-steps", "2", "--offline")
    assert result.exit_code == 0 and stub.warm
    assert stub.choice is not None
    assert (stub.choice.model, stub.choice.sampler_decode_steps) == ("folder", 2)
    assert stub.choice.offline and "Ready" in result.stderr


def test_export_voice(stub: StubModel, tmp_path: Path) -> None:
    assert run("export-voice", "me.wav", "me.safetensors").exit_code == 0
    assert Path("me.safetensors").stat().st_size > 0
    assert (stub.voice, stub.truncate) == ("me.wav", True)
    run("export-voice", "me.wav", "me.safetensors", "--no-truncate", "--language", "german")
    assert stub.truncate is False and stub.choice is not None
    assert stub.choice.language == "german"
    (tmp_path / "recordings").mkdir()
    for name in ("a.wav", "b.mp3", "notes.txt"):
        (tmp_path / "recordings" / name).touch()
    assert run("export-voice", "recordings", "voices").exit_code == 0
    assert sorted(p.name for p in Path("voices").iterdir()) == ["a.safetensors", "b.safetensors"]


def test_export_voice_in_another_timbre(stub: StubModel) -> None:
    run("export-voice", "joe", "deep.safetensors", "--pitch", "0.8", "--formants", "0.9")
    voice = read_voice("deep.safetensors")
    assert isinstance(voice, VoiceState) and voice.timbre == Timbre(0.8, 0.9)
    stub.timbre = {"pitch": "0.8", "formants": "0.9"}
    run("export-voice", "deep", "back.safetensors", "--pitch", "1.25", "--pace", "1.1")
    again = read_voice("back.safetensors")
    assert isinstance(again, VoiceState) and again.timbre == Timbre(1.0, 0.9, 1.1)
    result = run("export-voice", "joe", "odd.safetensors", "--pitch", "5")
    assert result.exit_code == 1 and "expected 0.5 to 3.0, got 5" in result.stderr
    assert not Path("odd.safetensors").exists()


def test_export_voice_writes_where_it_is_told(stub: StubModel) -> None:
    """A name without an ending is taken as it is and found again; a device is written to."""
    assert run("export-voice", "me.wav", "me").exit_code == 0
    assert is_voice_file("me") and not is_voice_file("none")
    assert run("export-voice", "me.wav", os.devnull).exit_code == 0
    assert not Path(os.devnull).is_file()


def test_export_voice_takes_english_where_no_model_is_named(
    stub: StubModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "deaf", has_voice_cloning=False)
    monkeypatch.setattr("pocket_tts_jax.weights.source.EMBEDDED", folder)
    result = run("export-voice", "me.wav", "me.safetensors")
    assert stub.choice.language == "english" and "--language english" in result.stderr
    run("export-voice", "me.wav", "me.safetensors", "--model", "folder")
    assert stub.choice.language is None


def test_export_voice_wants_a_voice_file(stub: StubModel) -> None:
    result = run("export-voice", "me.wav", "me.wav")
    assert result.exit_code == 1 and ".safetensors" in result.stderr
    assert stub.choice is None


def test_export_voice_into_what_is_no_folder(stub: StubModel, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "a.wav").touch()
    (tmp_path / "voices").touch()
    result = run("export-voice", "recordings", "voices")
    assert result.exit_code == 1 and "Error: voices cannot be a folder" in result.stderr
    assert stub.choice is None


def test_voices_are_found_at_run_time(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "voices").mkdir(parents=True)
    (folder / "voices" / "ann.safetensors").touch()
    rows = json.loads(run("voices", "--model", folder, "--json").stdout)
    assert [row["name"] for row in rows] == ["ann"]
    (folder / "voices" / "bob.safetensors").touch()
    rows = json.loads(run("voices", "--model", folder, "--json").stdout)
    assert [row["name"] for row in rows] == ["ann", "bob"]
    assert run("voices", "--model", tmp_path / "none").exit_code == 1
    result = run("voices", "--model", folder, "--language", "english")
    assert result.exit_code == 1 and "two models" in result.stderr


def test_voices_of_kyutai_have_licences() -> None:
    rows = json.loads(run("voices", "--language", "german_24l", "--json").stdout)
    alba = next(row for row in rows if row["name"] == "alba")
    assert alba["model"] == "german_24l" and alba["licence"] == "CC BY 4.0"
    assert "alba" in run("voices", "--language", "english").stdout
    assert run("voices", "--language", "klingon").exit_code == 1


def test_models() -> None:
    rows = json.loads(run("models", "--json").stdout)
    english = next(row for row in rows if row["name"] == "english_2026-10")
    assert english["voice_cloning"] == "gated" and english["licence"] == "CC BY 4.0"
    assert 50e6 < english["parameters"] < 200e6
    assert "english_2026-10" in run("models").stdout


def test_offline_models_fetch_no_voices(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    source = open_source(model=folder, offline=True)
    loader = VoiceLoader(source, SimpleNamespace(config=source.config))  # type: ignore[arg-type]
    for address in ("https://example.invalid/a.safetensors", "hf://a/b/c.wav"):
        with pytest.raises(DownloadError, match="switched off"):
            loader.load(address)


def test_version() -> None:
    from pocket_tts_jax import __version__

    assert run("--version").stdout.strip() == __version__


def test_the_commands_start_light() -> None:
    code = (
        "import sys, pocket_tts_jax.cli.app;"
        "print([m for m in ('jax', 'flax', 'numpy', 'soundfile', 'torch') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
