"""Fine-tuning from the command line: what may move moves, and the result is a published file."""

import dataclasses
import signal
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pocket_tts_jax import TTSModel
from pocket_tts_jax.config import load_config
from pocket_tts_jax.errors import AudioError, ConfigError, TextError, VoiceError
from pocket_tts_jax.testing.tiny_model import TOKENIZER, write_model
from pocket_tts_jax.text.tokenizer import SentencePieceTokenizer
from pocket_tts_jax.voice.state import VoiceState, read_voice
from pocket_tts_jax.weights.checkpoint import load_checkpoint
from pocket_tts_jax.weights.expected import parameter_shapes
from pocket_tts_jax.weights.source import open_source
from tests.folders import ROOT
from tests.training.setup import write_folder
from training import finetune
from training.batches.encoder import Encoder
from training.batches.examples import END_LEAD
from training.batches.recordings import (
    SILENCE,
    Codec,
    encode_recordings,
    find_recordings,
    hold_out,
    mel_codec,
    read_speech,
    read_transcript,
)
from training.data.spectra import FRAME
from training.errors import Interrupted, TrainingError
from training.judging import tuning
from training.judging.tuning import Judgement

CODEC = ROOT / "training" / "joe_mel_codec.safetensors"


def tune(tmp_path, monkeypatch, what: str, *extra: str, **settings):
    """Two steps on two recordings."""
    model, data = write_model(tmp_path / "model", **settings), write_folder(tmp_path / "data")
    arguments = ["finetune", what, "--model", model, "--steps", "2"]
    arguments += ["--data", data, "--out", tmp_path / "out", "--rows", "2", "--rate", "1e-3"]
    monkeypatch.setattr(sys, "argv", [str(a) for a in [*arguments, *extra]])
    finetune.main()
    return model, tmp_path / "out"


def test_adapters_change_the_adapted_matrices_only(tmp_path, monkeypatch):
    voice = str(tmp_path / "model" / "voices" / "tiny.safetensors")
    model, out = tune(tmp_path, monkeypatch, "adapters", "--voice", voice, "--held-out", "0")
    shapes = parameter_shapes(load_config(model / "config.yaml"))
    before = load_checkpoint(model / "model.safetensors", shapes)
    after = load_checkpoint(out / "model.safetensors", shapes)
    changed = {n for n in shapes if not np.array_equal(before[n], after[n])}
    assert changed
    assert all(n.startswith("flow_lm.transformer.") for n in changed)
    tuned = open_source(model=out)  # complete: configuration, tokenizer, voice
    assert tuned.voice_names() == ["tuned"] and tuned.settings.default_voice == "tuned"
    assert (
        tuned.config.flow_lm.transformer == load_config(model / "config.yaml").flow_lm.transformer
    )


def test_a_voice_is_tuned_alone(tmp_path, monkeypatch):
    voice = str(tmp_path / "model" / "voices" / "tiny.safetensors")
    model, out = tune(tmp_path, monkeypatch, "voice", "--voice", voice, "--held-out", "0")
    config = load_config(model / "config.yaml")
    shapes = parameter_shapes(config)
    weights = [load_checkpoint(x / "model.safetensors", shapes) for x in (model, out)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in shapes)
    tuned = out / "voices" / "tuned.safetensors"
    before, after = read_voice(voice, config), read_voice(tuned, config)
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
    text, tokens = read_transcript(path, config, tokenizer)
    assert text == "one two" and tokens.tolist() == tokenizer.encode("One two.")
    for content, message in ((b" ", "nothing to speak"), (b"\xff\xfe", "Save it as UTF-8")):
        path.write_bytes(content)
        with pytest.raises(TextError, match=f"a.txt.*{message}"):
            read_transcript(path, config, tokenizer)


def test_recordings_end_as_early_as_the_speech_of_training(tmp_path):
    """0.5 s are 7 frames. Tuning must not move the end that a model knows."""
    config = load_config(write_model(tmp_path / "model") / "config.yaml")
    width = config.latent_dim
    codec = Codec(
        lambda audio: np.zeros((len(audio) // FRAME, width)), np.zeros(width), np.ones(width)
    )
    folder = write_folder(tmp_path / "data")
    examples = list(encode_recordings(folder, config, SentencePieceTokenizer(TOKENIZER), codec))
    assert [example.end for example in examples] == [7 - END_LEAD] * 2
    assert all(len(example.latents) == 7 + SILENCE for example in examples)


def test_an_encoder_of_another_width_is_refused(tmp_path):
    config = load_config(write_model(tmp_path / "model") / "config.yaml")
    mimi = dataclasses.replace(config.mimi, inner_dim=16)
    with pytest.raises(ConfigError, match="makes 16 numbers a frame, its decoder reads 32"):
        Encoder(dataclasses.replace(config, mimi=mimi), {})


def test_an_interrupted_run_writes_no_result(tmp_path, monkeypatch):
    def stop_at_once(trainer, next_batch, path, log, note):
        trainer.save(path, note)
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(finetune, "run", stop_at_once)
    with pytest.raises(Interrupted):
        tune(tmp_path, monkeypatch, "adapters", "--held-out", "0")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["training.safetensors"]


@pytest.mark.slow
def test_the_tuned_folder_speaks_at_once(tmp_path, monkeypatch, capsys):
    for module in (finetune, tuning):
        monkeypatch.setattr(module, "recogniser_missing", lambda: ["faster_whisper"])
    _, out = tune(tmp_path, monkeypatch, "full", "--name", "mine")
    model = TTSModel.load_model(model=out, engine="jax")
    assert model.default_voice() == "mine"
    audio = model.generate_audio(model.get_state_for_audio_prompt("mine"), "One.", max_tokens=20)
    assert len(audio) and np.isfinite(audio).all()
    said = capsys.readouterr().out
    assert "1 recordings to train on, 1 held out" in said
    assert "latent error before tuning" in said and "saved at 2 of 2" in said
    assert "words misheard: not judged (faster_whisper missing" in said


def test_a_model_without_a_trained_encoder_is_refused(tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match="not trained.*Give --codec"):
        tune(tmp_path, monkeypatch, "full", has_voice_cloning=False)
    assert not (tmp_path / "out").exists()


def test_latents_of_the_mel_codec_take_the_place_of_an_encoder(tmp_path):
    source = open_source()
    assert not source.has_voice_cloning
    codec = finetune.choose_codec(source, {}, CODEC)
    audio = np.random.default_rng(0).standard_normal(5 * FRAME).astype(np.float32)
    latents = codec.encode(audio)
    assert latents.shape == (5, 32) and codec.std.shape == (32,)
    mimi = dataclasses.replace(source.config.mimi, frame_rate=25.0)
    with pytest.raises(TrainingError, match="Leave --codec out"):
        mel_codec(dataclasses.replace(source.config, mimi=mimi), CODEC)


def test_words_are_judged_before_and_after_by_the_held_out_texts(tmp_path, monkeypatch):
    heard = []

    def misheard(model, voice, texts):
        heard.append((model, voice, texts))
        return 0.1

    tuned = SimpleNamespace(get_state_for_audio_prompt=lambda name: f"voice {name}")
    monkeypatch.setattr(finetune, "recogniser_missing", lambda: [])
    monkeypatch.setattr(finetune, "open_named", lambda name, engine: tuned)
    monkeypatch.setattr(finetune, "words_misheard", lambda m, v, t: misheard(m, v, t))
    held: list[Any] = [SimpleNamespace(text="One."), SimpleNamespace(text="Two.")]
    args: Any = SimpleNamespace(out=tmp_path, name="mine")
    base: Any = "base"
    before, after = finetune.judge(base, base, args, held, (0.4, 0.3))
    assert heard == [("base", "base", ["One.", "Two."]), (tuned, "voice mine", ["One.", "Two."])]
    said = tuning.comparison(before, after._replace(wer=0.5), 2)
    assert "latent error 0.400 -> 0.300" in said
    assert "words misheard 10.0% -> 50.0%" in said and "WORSE" in said


def test_a_better_model_gets_no_warning():
    said = tuning.comparison(Judgement(0.4, 0.1), Judgement(0.3, 0.1), 3)
    assert "0.400 -> 0.300" in said and "WORSE" not in said


def test_recordings_are_held_out_evenly_and_never_all():
    examples: list[Any] = list(range(25))
    kept, held = hold_out(examples, None)
    assert held == [0, 24] and len(kept) == 23
    assert hold_out(examples, 0) == (examples, [])
    with pytest.raises(TrainingError, match="leaves none to train on"):
        hold_out(examples[:1], None)


def test_a_model_that_says_means_is_tuned_by_them():
    config = load_config(ROOT / "pocket_tts_jax" / "embedded" / "config.yaml")
    assert config.default_temperature == 0 and finetune.objective_of(config).map == 1
    varied = finetune.objective_of(dataclasses.replace(config, default_temperature=0.3))
    assert varied.map == 0 and varied.flow > 0
