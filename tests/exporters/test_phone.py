"""What `--ios` makes."""

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from exporters.tflite import app
from pocket_tts_jax.litert_engine.folder import open_folder
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.tts_model import TTSModel


@pytest.mark.slow
def test_a_bundle_speaks_and_says_what_it_is(tmp_path: Path) -> None:
    model, target = write_model(tmp_path / "model"), tmp_path / "bundle"
    command = ["--ios", str(target), "--model", str(model), "--max-frames", "320"]
    done = CliRunner().invoke(app, [*command, "--decoder", "int8"])
    assert done.exit_code == 0, done.output
    text = (target / "README.md").read_text(encoding="utf-8")
    for name in ("int8", "int4"):
        assert (target / name).is_dir() == (f"no {name}" not in text)
    made = sorted(path.parent for path in target.glob("*/manifest.json"))
    assert made
    assert "| all |" in text and "Privacy" in text and "LiteRT: Apache" in text
    assert "`--decoder int8`" in text
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=target, check=True)
    for folder in made:
        speaker = TTSModel.load_model(model=folder, engine="litert")
        voice = speaker.get_state_for_audio_prompt(speaker.voice_names()[0])
        assert speaker.generate_audio(voice, "Hello there.", seed=1).size
        exported = open_folder(folder)
        assert exported.manifest["batch"] == [] and exported.decoder == "int8"


def test_it_takes_no_option_of_another_export(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--ios", str(tmp_path / "new"), "--precision", "fp32"])
    assert done.exit_code == 1
    assert "--precision" in done.output
    assert not (tmp_path / "new").exists()
    (tmp_path / "there").mkdir()
    done = CliRunner().invoke(app, ["--ios", str(tmp_path / "there")])
    assert done.exit_code == 1 and "exists" in done.output
