"""An exported training run is a model in the published format: ours and the reference read it."""

import sys

import numpy as np
import pytest
import yaml

from pocket_tts_jax.config import load_config
from pocket_tts_jax.testing.tiny_model import TOKENIZER, write_model
from pocket_tts_jax.weights.checkpoint import load_checkpoint
from pocket_tts_jax.weights.expected import parameter_shapes, under
from pocket_tts_jax.weights.settings import ModelSettings
from training import export
from training.loop.checkpoint import read_start, write_training
from training.loop.initialise import DECODER, ENCODER, VOICES, initial_tensors
from training.loop.published import start_voice

TEXT = "One two three."


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """A run's checkpoints (their averages are what counts) through the command line."""
    source = write_model(tmp_path / "source")
    config = load_config(source / "config.yaml")
    tensors = initial_tensors(config, seed=3)
    for half in ("flow_lm", "mimi"):
        part = under(tensors, f"{half}.")
        if half == "mimi":
            part = {n: t for n, t in part.items() if n.startswith(DECODER)}
        write_training(tmp_path / f"{half}.safetensors", {"ema": part, "step": np.zeros(())}, {})
    from safetensors.numpy import save_file

    draw = np.random.default_rng(0)
    statistics = {
        "latents.mean": draw.standard_normal(32).astype(np.float32),
        "latents.std": np.exp(0.1 * draw.standard_normal(32)).astype(np.float32),
    }
    save_file(statistics, tmp_path / "codec.safetensors")
    arguments = ["export", "--config", source / "config.yaml", "--tokenizer", TOKENIZER]
    arguments += ["--flow-lm", tmp_path / "flow_lm.safetensors"]
    arguments += ["--mimi", tmp_path / "mimi.safetensors"]
    arguments += ["--codec", tmp_path / "codec.safetensors"]
    arguments += ["--voice", "own", "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", [str(a) for a in arguments])
    export.main()
    return tmp_path / "out", tensors, statistics


def test_round_trip(exported):
    folder, tensors, statistics = exported
    config = load_config(folder / "config.yaml")
    loaded = load_checkpoint(folder / "model.safetensors", parameter_shapes(config))
    np.testing.assert_array_equal(loaded["flow_lm.emb_mean"], statistics["latents.mean"])
    for name in ("flow_lm.input_linear.weight", "mimi.decoder.model.0.conv.weight"):
        np.testing.assert_array_equal(loaded[name], tensors[name])


def test_half_precision_is_what_the_voice_is_made_for(exported, tmp_path):
    _, tensors, _ = exported
    export.write_model(tmp_path / "half.safetensors", tensors, half=True)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    loaded = load_checkpoint(tmp_path / "half.safetensors", shapes)
    for name, tensor in export.as_stored(tensors, half=True).items():
        np.testing.assert_array_equal(loaded[name], tensor)


def test_our_engine_speaks_it(exported):
    from pocket_tts_jax.tts_model import TTSModel

    model = TTSModel.load_model(model=exported[0], temp=0.0, compilation_cache=False)
    voice = model.get_state_for_audio_prompt("own")
    assert voice.length == 1
    audio = model.generate_audio(voice, TEXT, seed=0)
    assert len(audio) >= 1920 and np.isfinite(audio).all()


def test_each_speaker_becomes_a_voice(exported, tmp_path, monkeypatch):
    from pocket_tts_jax.tts_model import TTSModel

    folder, tensors, _ = exported
    flow_lm = under(tensors, "flow_lm.")
    vector = flow_lm["bos_before_voice"].ravel()[::-1].copy()
    state = {"ema": flow_lm | {VOICES + "abe": vector}, "step": np.zeros(())}
    write_training(tmp_path / "flow_lm.safetensors", state, {})
    export.main()
    model = TTSModel.load_model(model=folder, temp=0.0, compilation_cache=False)
    own, abe = (model.get_state_for_audio_prompt(name) for name in ("own", "abe"))
    assert own.length == abe.length == 1
    # The vector in place of the start token gives what that voice has.
    moved = tensors | {"flow_lm.bos_before_voice": vector[None, None]}
    config = load_config(folder / "config.yaml")
    np.testing.assert_allclose(abe.k, start_voice(config, moved, {}).k, rtol=1e-5, atol=1e-6)
    assert np.abs(abe.k - own.k).max() > 1e-3


def test_a_run_begins_with_a_model_file_or_another_run(exported, tmp_path):
    folder, tensors, _ = exported
    for path in (folder / "model.safetensors", tmp_path / "flow_lm.safetensors"):
        start = read_start(path, "flow_lm.")
        name = "input_linear.weight"
        np.testing.assert_array_equal(start[name], tensors[f"flow_lm.{name}"])
        assert not [n for n in start if n.startswith(("flow_lm.", "mimi.", "decoder."))]


def test_a_trained_encoder_goes_into_the_file(exported, tmp_path, monkeypatch):
    folder, tensors, _ = exported
    config = load_config(folder / "config.yaml")
    encoder = under(initial_tensors(config, seed=4), "mimi.")
    encoder = {n: t for n, t in encoder.items() if n.startswith(ENCODER)}
    write_training(tmp_path / "encoder.safetensors", {"ema": encoder, "step": np.zeros(())}, {})
    more = ["--encoder", tmp_path / "encoder.safetensors"]
    monkeypatch.setattr(sys, "argv", [*sys.argv, *map(str, more)])
    export.main()
    loaded = load_checkpoint(folder / "model.safetensors", parameter_shapes(config))
    for name, tensor in encoder.items():
        np.testing.assert_array_equal(loaded[f"mimi.{name}"], tensor)
    decoder = "mimi.decoder.model.0.conv.weight"
    np.testing.assert_array_equal(loaded[decoder], tensors[decoder])


def test_settings_say_what_the_model_was_trained_for(exported):
    found = ModelSettings.read(exported[0])
    assert found.default_voice == "own" and found.normalize and not found.has_voice_cloning
    assert found.max_tokens == 100 and found.alignment_heads
    layers = load_config(exported[0] / "config.yaml").flow_lm.transformer.num_layers
    assert all(layer < layers for layer, _ in found.alignment_heads)


@pytest.mark.reference
def test_the_reference_loads_it_strictly_and_speaks_the_same(exported, tmp_path):
    reference = pytest.importorskip("pocket_tts")
    from pocket_tts_jax.tts_model import TTSModel

    folder = exported[0]
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    raw["weights_path"] = str(folder / "model.safetensors")
    raw["flow_lm"]["lookup_table"]["tokenizer_path"] = str(TOKENIZER)
    raw["default_eos_threshold"] = -1e9  # ends after the frames that may not end
    (tmp_path / "reference.yaml").write_text(yaml.safe_dump(raw))
    theirs = reference.TTSModel.load_model(config=tmp_path / "reference.yaml", temp=0.0)
    voice = theirs.get_state_for_audio_prompt(str(folder / "voices" / "own.safetensors"))
    wanted = theirs.generate_audio(voice, TEXT).numpy()
    ours = TTSModel.load_model(model=folder, temp=0.0, eos_threshold=-1e9, compilation_cache=False)
    audio = ours.generate_audio(ours.get_state_for_audio_prompt("own"), TEXT, seed=0)
    assert audio.shape == wanted.shape
    np.testing.assert_allclose(audio, wanted, atol=1e-4 * max(1.0, np.abs(wanted).max()))
