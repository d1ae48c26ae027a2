"""Fine-tuning from the command line: what may move moves, and the result is a published file."""

import dataclasses
import sys

import numpy as np
import pytest

from pocket_tts_jax.config import load_config
from pocket_tts_jax.errors import AudioError, ConfigError, TextError, VoiceError
from pocket_tts_jax.testing.tiny_model import TOKENIZER, write_model
from pocket_tts_jax.text.tokenizer import SentencePieceTokenizer
from pocket_tts_jax.voice.state import VoiceState, read_voice
from pocket_tts_jax.weights.checkpoint import load_checkpoint
from pocket_tts_jax.weights.expected import parameter_shapes
from tests.training.setup import write_folder
from training import finetune
from training.batches.encoder import Encoder
from training.batches.recordings import find_recordings, read_speech, read_tokens


def tune(tmp_path, monkeypatch, what: str, *extra: str):
    model, data = write_model(tmp_path / "model"), write_folder(tmp_path / "data")
    arguments = ["finetune", what, "--config", model / "config.yaml", "--steps", "2"]
    arguments += ["--weights", model / "model.safetensors", "--tokenizer", TOKENIZER]
    arguments += ["--data", data, "--out", tmp_path / "out", "--rows", "2", "--rate", "1e-3"]
    monkeypatch.setattr(sys, "argv", [str(a) for a in [*arguments, *extra]])
    finetune.main()
    return model, tmp_path / "out"


def test_adapters_change_the_adapted_matrices_only(tmp_path, monkeypatch):
    voice = str(tmp_path / "model" / "voices" / "tiny.safetensors")
    model, out = tune(tmp_path, monkeypatch, "adapters", "--voice", voice)
    shapes = parameter_shapes(load_config(model / "config.yaml"))
    before = load_checkpoint(model / "model.safetensors", shapes)
    after = load_checkpoint(out / "model.safetensors", shapes)
    changed = {n for n in shapes if not np.array_equal(before[n], after[n])}
    assert changed
    assert all(n.startswith("flow_lm.transformer.") for n in changed)


def test_a_voice_is_tuned_alone(tmp_path, monkeypatch):
    voice = str(tmp_path / "model" / "voices" / "tiny.safetensors")
    model, out = tune(tmp_path, monkeypatch, "voice", "--voice", voice)
    assert not (out / "model.safetensors").exists()
    config = load_config(model / "config.yaml")
    before, after = read_voice(voice, config), read_voice(out / "voice.safetensors", config)
    assert isinstance(before, VoiceState) and isinstance(after, VoiceState)
    assert before.k.shape == after.k.shape and not np.array_equal(before.k, after.k)


def test_a_voice_cannot_be_tuned_from_nothing():
    with pytest.raises(VoiceError, match="give --voice"):
        finetune.trainable_part("voice", {}, None, rank=1)


def test_recordings_need_transcripts_and_must_be_short(tmp_path):
    import soundfile

    folder = write_folder(tmp_path / "data")
    assert [path.name for _, path in find_recordings(folder)] == ["0.txt", "1.txt"]
    (folder / "1.txt").unlink()
    with pytest.raises(TextError, match="1.wav"):
        find_recordings(folder)
    with pytest.raises(TextError, match="no recordings"):
        find_recordings(tmp_path / "nowhere")
    soundfile.write(tmp_path / "long.wav", np.zeros(21 * 8000), 8000)
    with pytest.raises(AudioError, match="cut it"):
        read_speech(tmp_path / "long.wav", 24_000)
    (tmp_path / "broken.wav").write_text("no sound")
    with pytest.raises(AudioError, match="broken.wav"):
        read_speech(tmp_path / "broken.wav", 24_000)


def test_transcripts_are_prepared_as_texts_are_at_run_time(tmp_path):
    config = load_config(write_model(tmp_path / "model") / "config.yaml")
    tokenizer, path = SentencePieceTokenizer(TOKENIZER), tmp_path / "a.txt"
    path.write_text("one two\n", encoding="utf-8-sig")
    assert list(read_tokens(path, config, tokenizer)) == tokenizer.encode("One two.")
    for content, message in ((b" ", "nothing to speak"), (b"\xff\xfe", "Save it as UTF-8")):
        path.write_bytes(content)
        with pytest.raises(TextError, match=f"a.txt.*{message}"):
            read_tokens(path, config, tokenizer)


def test_an_encoder_of_another_width_is_refused(tmp_path):
    config = load_config(write_model(tmp_path / "model") / "config.yaml")
    mimi = dataclasses.replace(config.mimi, inner_dim=16)
    with pytest.raises(ConfigError, match="makes 16 numbers a frame, its decoder reads 32"):
        Encoder(dataclasses.replace(config, mimi=mimi), {})


def test_an_interrupted_run_writes_no_result(tmp_path, monkeypatch, capsys):
    def stop_at_once(trainer, next_batch, path, log, note):
        trainer.advance(next_batch(0)[1], "tune")
        trainer.save(path, note)

    monkeypatch.setattr(finetune, "run", stop_at_once)
    _, out = tune(tmp_path, monkeypatch, "adapters")
    assert [path.name for path in out.iterdir()] == ["training.safetensors"]
    assert "step 1 of 2: start again" in capsys.readouterr().out
