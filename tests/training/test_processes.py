"""The commands of training as users start them: real processes of a tiny model, killed too."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.testing.tiny_model import TOKENIZER, write_model
from tests.folders import ROOT
from tests.signals import signals_reach_children
from tests.training.setup import write_folder
from training.data.spectra import FRAME

CODEC = ROOT / "training" / "joe_mel_codec.safetensors"
# Each process compiles its steps, which need not be fast.
QUICK = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
SETTINGS = os.environ | QUICK | {"PYTHONPATH": str(ROOT)}


def start(folder: Path, module: str, *options: object) -> subprocess.Popen[str]:
    with signals_reach_children():
        return subprocess.Popen(
            [sys.executable, "-m", module, *map(str, options)],
            cwd=folder,
            env=SETTINGS,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def run(folder: Path, module: str, *options: object) -> str:
    """What the command writes; it must succeed."""
    process = start(folder, module, *options)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    return said


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Own recordings in the form that training/README.md describes: three, one held out."""
    folder = tmp_path / "data"
    folder.mkdir()
    time = np.arange(26 * FRAME) / 24_000
    sound = (0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time) * 32767).astype("<i2")
    rows = [
        {"text": "One two.", "source": "me", "held_out": i == 1, "offset": 0, "samples": len(sound)}
        for i in range(3)
    ]
    sound.tofile(folder / "part0.i16")
    (folder / "part0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def frames(tmp_path: Path, shards: Path) -> Path:
    assert "3 utterances" in run(tmp_path, "training.frames", "--shards", shards, "--out", "frames")
    return tmp_path / "frames"


@pytest.mark.slow
def test_from_recordings_to_a_folder_that_speaks(tmp_path, frames):
    config = write_model(tmp_path / "model") / "config.yaml"
    mel, codec = ("--codec", "mel.safetensors"), "training.mel_codec"
    run(tmp_path, codec, "train", "--frames", frames, "--out", mel[1], "--steps", 2)
    assert "part0 90 frames" in run(tmp_path, codec, "encode", "--frames", frames, *mel)
    assert not (tmp_path / "mel_run.safetensors").exists()
    both = ["--config", config, "--frames", frames, "--steps", 2]
    said = run(tmp_path, "training.codec", *both, "--rows", 1, "--out", "run/mimi.safetensors")
    assert "1/2" in said and "saved at 2 of 2" in said
    words = ["--tokenizer", TOKENIZER, *mel]
    said = run(tmp_path, "training.flow_lm", *both, *words, "--out", "run/flow_lm.safetensors")
    assert "step 0 of 2" in said and "saved at 2 of 2" in said
    parts = ["--flow-lm", "run/flow_lm.safetensors", "--mimi", "run/mimi.safetensors"]
    run(tmp_path, "training.export", "--config", config, *parts, *words, "--out", "voice")
    run(tmp_path, "pocket_tts_jax", "generate", "One two.", "--model", "voice", "-o", "a.wav")
    assert (tmp_path / "a.wav").stat().st_size > 2 * FRAME


@pytest.mark.slow
def test_a_run_ends_with_everything_saved_and_goes_on(tmp_path, frames):
    options = ["train", "--frames", frames, "--out", "mel.safetensors", "--steps"]
    done = 0
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        process = start(tmp_path, "training.mel_codec", *options, 1_000_000)
        assert process.stdout is not None
        beginning = f"step {done} of 1000000"
        for line in process.stdout:
            assert "Error" not in line
            if line.lstrip().startswith(f"{done + 1}/1000000"):
                break
            beginning = "" if line.startswith(beginning) and beginning else beginning
        assert not beginning
        process.send_signal(number)
        said, errors = process.communicate()
        if number == signal.SIGKILL:
            break
        assert process.returncode == 128 + number, errors
        assert "stopping after this step" in errors and "Traceback" not in errors
        saved = next(line for line in said.splitlines() if line.startswith("saved at"))
        done = int(saved.split()[2])
        assert "of 1000000: mel_run.safetensors" in saved and "goes on from there" in said
    assert done > 1 and not (tmp_path / "mel.safetensors").exists()
    said = run(tmp_path, "training.mel_codec", *options, 1)
    assert f"is at step {done} already" in said and "Give more --steps" in said
    assert (tmp_path / "mel.safetensors").is_file()


@pytest.mark.slow
def test_tuning_by_a_codec_judges_and_speaks(tmp_path):
    options = ["--model", write_model(tmp_path / "model", has_voice_cloning=False), "--out", "out"]
    options += ["--data", write_folder(tmp_path / "data"), "--rows", 2, "--steps", 2]
    said = run(tmp_path, "training.finetune", "adapters", *options, "--codec", CODEC)
    assert "latent error before tuning" in said and "judged by 1 held-out recordings" in said
    assert 'out speaks: pocket-tts-jax generate "Hello." --model out' in said
    run(tmp_path, "pocket_tts_jax", "generate", "One.", "--model", "out", "-o", "a.wav")


ERRORS = [
    ("finetune adapters --data data --out out", "is not trained.* Give --codec"),
    (
        f"finetune full --codec {CODEC} --data nothing --out out",
        "nothing has no recordings. Put NAME.wav",
    ),
    ("finetune full --codec absent --data data --out out", "absent cannot be read"),
    (
        "data.teacher --sentences absent --tokenizer absent --out data",
        "absent cannot be read as a SentencePiece model.* python -m training.tokens",
    ),
    (
        "tokens --sentences data/0.txt --out t.model",
        'Line 1 of data/0.txt is not of the form {"text"',
    ),
    ("tokens --dictionary absent --out t.model", "absent: No such file"),
    ("evaluate --model absent --sentences data/0.wav", "data/0.wav is not UTF-8 text"),
    ("frames --shards data --out frames", "no part.*jsonl in data. Run .*training.data.teacher"),
    ("plot absent.jsonl", "absent.jsonl: No such file"),
]


@pytest.mark.parametrize(("command", "said"), ERRORS)
@pytest.mark.slow
def test_what_users_can_mend_is_one_line(command, said, tmp_path):
    write_folder(tmp_path / "data")
    module, *options = command.split()
    process = start(tmp_path, f"training.{module}", *options)
    _, errors = process.communicate()
    assert process.returncode == 1 and errors.count("\n") == 1, errors
    assert errors.startswith("Error: ") and re.search(said, errors), errors
    assert not list(tmp_path.glob("out/*"))
