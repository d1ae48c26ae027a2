"""Where models come from: folders, phone folders, configurations, names."""

import json
import shutil

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from pocket_tts_jax import config as configs
from pocket_tts_jax.errors import CheckpointError, ConfigError, DownloadError
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.weights.settings import ModelSettings
from pocket_tts_jax.weights.source import EMBEDDED, open_source


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "tiny")


def test_a_folder_and_its_weight_file_are_the_same_source(folder):
    for model in (folder, str(folder), folder / "model.safetensors"):
        source = open_source(model=model)
        assert source.name == "tiny" and source.voice_names() == ["tiny"]
        assert source.tokenizer == folder / "tokenizer.model"
        assert source.has_voice_cloning and source.published is None
        tensors = source.load_tensors()
        assert tensors["flow_lm.bos_emb"].shape == (32,)


def test_a_phone_folder_gets_the_configuration_that_fits(folder, tmp_path, monkeypatch):
    """No config.yaml: the tensors tell which model it is."""
    packaged = tmp_path / "configs"
    packaged.mkdir()
    shutil.copy(folder / "config.yaml", packaged / "english_tiny.yaml")
    (folder / "config.yaml").unlink()
    monkeypatch.setattr(configs, "CONFIGS", packaged)
    source = open_source(model=folder)
    assert source.config.flow_lm.transformer.d_model == 24
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"surplus": np.zeros(1, np.float32)}, folder / "model.safetensors")
    with pytest.raises(ConfigError, match="config.yaml"):
        open_source(model=folder)


def test_the_tokenizers_kind_is_its_files(folder):
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    raw["flow_lm"]["lookup_table"]["tokenizer"] = "tokenizers"
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    assert open_source(model=folder).tokenizer_kind == "sentencepiece"


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.model"])
def test_a_folder_that_lacks_a_file_says_which(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(ConfigError, match=missing.split(".")[0]):
        open_source(model=folder)


def test_a_configuration_names_files_beside_it(folder):
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    raw["weights_path"] = str(folder / "model.safetensors")
    raw["flow_lm"]["lookup_table"]["tokenizer_path"] = "tokenizer.model"
    path = folder / "other.yaml"
    path.write_text(yaml.safe_dump(raw))
    source = open_source(config=path)
    assert source.name == "other" and source.tokenizer == folder / "tokenizer.model"
    assert "mimi.quantizer.output_proj.weight" in source.load_tensors()
    del raw["weights_path"]
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match="names no weights"):
        open_source(config=path)
    weights = folder / "model.safetensors"
    assert open_source(config=path, checkpoint=weights).load_tensors()


def test_the_wrong_weights_for_a_configuration(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["flow_lm.bos_emb"] = np.zeros(7, np.float32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"bos_emb \(is \[7\], should be \[32\]\)"):
        open_source(model=folder).load_tensors()


def test_the_settings(folder):
    assert ModelSettings.read(folder) == ModelSettings()
    (folder / "voice.json").write_text(json.dumps({"max_tokens": 7, "has_voice_cloning": False}))
    source = open_source(model=folder)
    assert source.settings.max_tokens == 7 and not source.has_voice_cloning
    heard: list[str] = []
    (folder / "voice.json").write_text(json.dumps({"notice": "Mind the gap."}))
    open_source(model=folder, on_notice=heard.append)
    assert heard == ["Mind the gap."]
    (folder / "voice.json").write_text(json.dumps({"max_token": 7}))
    with pytest.raises(ConfigError, match="max_tokens"):
        open_source(model=folder)


def test_names_that_do_not_go_together_or_do_not_exist(folder, tmp_path):
    with pytest.raises(ConfigError, match="language and model"):
        open_source(language="english", model=folder)
    with pytest.raises(ConfigError, match="no model called 'klingon'.*english"):
        open_source(language="klingon")
    with pytest.raises(ConfigError, match="no model at"):
        open_source(model=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="checkpoint"):
        open_source(model=folder, checkpoint=folder / "model.safetensors")


def test_without_a_network_the_error_says_how_to_get_the_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match="hf download kyutai/pocket-tts"):
        open_source(language="english", offline=True, on_notice=lambda _: None)


def test_nothing_given_is_the_embedded_voice():
    source = open_source(on_notice=lambda _: None)
    assert source.name == "embedded" and source.voice_names() == ["joe", "mia", "otto", "una"]
    assert source.load_tensors()["flow_lm.emb_std"].shape == (32,)
    assert not source.has_voice_cloning
    size = sum(path.stat().st_size for path in EMBEDDED.rglob("*") if path.is_file())
    assert size <= 32e6


def test_a_choice_among_configurations_is_said(folder, tmp_path, monkeypatch):
    packaged = tmp_path / "configs"
    packaged.mkdir()
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").unlink()
    for name in ("french_tiny", "english_tiny"):
        (packaged / f"{name}.yaml").write_text(yaml.safe_dump(raw))
    monkeypatch.setattr(configs, "CONFIGS", packaged)
    heard: list[str] = []
    open_source(model=folder, on_notice=heard.append)
    (said,) = heard
    assert "english_tiny is assumed" in said and "french_tiny" in said and "config.yaml" in said


@pytest.mark.parametrize("named", ["whole", "parts"])
def test_weights_are_looked_up_beside_the_configuration(folder, tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)  # where there is no such file
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    raw["flow_lm"]["lookup_table"]["tokenizer_path"] = "tokenizer.model"
    if named == "whole":
        raw["weights_path"] = "model.safetensors"
    else:
        raw["flow_lm"]["weights_path"] = raw["mimi"]["weights_path"] = "model.safetensors"
    path = folder / "other.yaml"
    path.write_text(yaml.safe_dump(raw))
    assert open_source(config=path).tokenizer == folder / "tokenizer.model"
