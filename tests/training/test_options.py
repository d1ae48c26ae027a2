"""Options of the command lines: what would do nothing or harm is refused, what is named is read."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from pocket_tts_jax.config import load_config
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.weights.expected import under
from tests.training.setup import tiny_config
from training import codec, evaluate, mel_codec
from training.data.spectra import FRAME
from training.data.streams import Utterance
from training.errors import TrainingError
from training.judging import subjects
from training.judging.forced import forced_latents
from training.judging.speak import waveform_decoder
from training.loop.checkpoint import write_training
from training.loop.initialise import DECODER, initial_tensors

CONFIG = tiny_config()
CODEC = {"latents.mean": np.zeros(32, np.float32), "latents.std": np.ones(32, np.float32)}
PARTS = ["--config", "c", "--flow-lm", "f", "--mimi", "m", "--codec", "s", "--tokenizer", "t"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--model", "m"], None),
        (["--model", "m", "--tokenizer", "t", "--temperature", "0.5"], None),
        (PARTS, None),
        ([*PARTS, "--last"], None),
        (["--what", "teacher"], None),
        (["--what", "teacher", "--speaker", "una"], None),
        (["--model", "m", "--speaker", "una"], "does not read --speaker"),
        (["--what", "codec", "--config", "c", "--mimi", "m"], None),
        (["--what", "forced", "--model", "m", "--codec", "s", "--history-noise", "1"], None),
        (["--what", "engine", "--voice", "v"], None),
        (["--what", "plain", "--tokenizer", "t"], None),
        (["--what", "reading"], "needs --tokenizer"),
        ([], "needs --codec, --config, --flow-lm, --mimi, --tokenizer, or --model"),
        (["--model", "m", "--last"], "with --model does not read --last"),
        (["--what", "forced", "--model", "m"], "with --model needs --codec"),
        (["--what", "teacher", "--model", "m"], "no model"),
        (["--what", "engine", "--eos-threshold", "1"], "does not read --eos-threshold"),
        (["--what", "codec", "--model", "m", "--temperature", "1"], "does not read --temperature"),
    ],
)
def test_evaluation_reads_what_it_accepts(options, wrong, monkeypatch, capsys):
    class Reached(Exception):
        pass

    def held_out(*_):
        raise Reached

    monkeypatch.setattr(subjects, "held_out", held_out)
    monkeypatch.setattr(sys, "argv", ["evaluate", "--frames", "frames", *options])
    with pytest.raises(SystemExit if wrong else Reached):
        evaluate.main()
    assert (wrong or "") in capsys.readouterr().err


def write_frames(folder: Path) -> Path:
    np.zeros((20, FRAME), np.int16).tofile(folder / "a.pcm")
    row = {"text": "Ah.", "source": "x", "held_out": False, "ends": None, "pieces": None}
    (folder / "a.jsonl").write_text(
        json.dumps(row | {"first": 0, "frames": 20, "speech": 16}) + "\n"
    )
    return folder


@pytest.mark.parametrize("what", ["codec", "forced", "teacher"])
def test_what_judges_recordings_needs_them(what, monkeypatch, capsys):
    needed = {"codec": PARTS[:2] + PARTS[4:6], "forced": PARTS, "teacher": []}[what]
    arguments = ["evaluate", "--list", "new", "--what", what, *needed]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit):
        evaluate.main()
    assert "needs --frames: it judges recordings" in capsys.readouterr().err


def test_a_voice_is_chosen_by_its_own_option(monkeypatch, capsys):
    arguments = ["evaluate", "--list", "new", "--what", "engine", "--speaker", "una"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit):
        evaluate.main()
    assert "who speaks is --voice" in capsys.readouterr().err


def test_evaluation_says_that_nothing_is_held_out(tmp_path):
    with pytest.raises(TrainingError, match="holds no sentence out"):
        subjects.held_out(write_frames(tmp_path), 3)


def test_the_codec_is_judged_without_a_flow_lm(tmp_path):
    path = write_model(tmp_path / "model") / "config.yaml"
    decoder = under(initial_tensors(load_config(path)), "mimi.")
    decoder = {n: t for n, t in decoder.items() if n.startswith(DECODER)}
    write_training(tmp_path / "mimi.safetensors", {"ema": decoder}, {})
    args = SimpleNamespace(
        what="codec", model=None, config=path, mimi=tmp_path / "mimi.safetensors"
    )
    decode = waveform_decoder(*subjects.load_tensors(args))  # pyright: ignore
    assert decode(np.zeros((3, 32), np.float32)).shape == (3 * FRAME,)


def test_history_is_normalised_as_it_was_in_training():
    """`emb_std` of an export may be widened: that scales what is predicted, and nothing else."""
    tensors, statistics = initial_tensors(CONFIG), (np.zeros(32), np.ones(32))
    latents = np.random.default_rng(0).standard_normal((10, 32)).astype(np.float32)
    rows = [(SimpleNamespace(latents=latents), Utterance("Ah.", "x", True, 0, 10, 8, None, None))]
    (plain,), (wide,) = (
        forced_latents(CONFIG, tensors | {"flow_lm.emb_std": std}, rows, [[1, 2]], statistics, 0.0)  # pyright: ignore
        for std in (np.ones(32, np.float32), np.full(32, 3, np.float32))
    )
    assert np.abs(plain).max() > 0.01
    np.testing.assert_allclose(wide, 3 * plain, rtol=1e-5)


def test_an_encoder_alone_hears_no_noise(monkeypatch, capsys):
    options = ["--config", "c", "--frames", "f", "--out", "o", "--part", "encoder"]
    monkeypatch.setattr(sys, "argv", ["codec", *options, "--noise", "0.1"])
    with pytest.raises(SystemExit):
        codec.main()
    assert "--noise" in capsys.readouterr().err


def mel(monkeypatch, *options: object) -> None:
    monkeypatch.setattr(sys, "argv", ["mel_codec", *map(str, options)])
    mel_codec.main()


def test_a_codec_is_not_trained_over(tmp_path, monkeypatch, capsys):
    frames, out = write_frames(tmp_path), tmp_path / "mel.safetensors"
    save_file({"w": np.zeros(1, np.float32)}, out)
    before = out.read_bytes()
    with pytest.raises(SystemExit):
        mel(monkeypatch, "train", "--frames", frames, "--out", out)
    assert "give another name" in capsys.readouterr().err and out.read_bytes() == before
    with pytest.raises(SystemExit):
        mel(monkeypatch, "encode", "--frames", frames, "--codec", out, "--steps", 3)


def test_mel_codec_from_the_command_line(tmp_path, monkeypatch):
    def learned(mels, path, steps):
        path.touch()
        return CODEC

    frames, out = write_frames(tmp_path), tmp_path / "mel.safetensors"
    monkeypatch.setattr(mel_codec, "train_mel_codec", learned)
    mel(monkeypatch, "train", "--frames", frames, "--out", out, "--steps", 1)
    monkeypatch.setattr(mel_codec, "encode_mels", lambda _, mels: np.zeros((len(mels) // 8, 32)))
    mel(monkeypatch, "encode", "--frames", frames, "--codec", out)
    assert (frames / "a.latents").stat().st_size == 20 * 32 * 4
    assert len((frames / "latents.codec").read_text().strip()) == 32
