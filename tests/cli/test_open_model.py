"""Opening a model from the options of a command line or a call."""

import sys
from pathlib import Path

import pytest

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.jax_engine.setup import use_compilation_cache
from pocket_tts_jax.open_model import ModelOptions, open_model
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.cache import default_cache
from tests.exported import tiny_export


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model without an export, in a home of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_model(tmp_path / "model")


def refusal(**options) -> str:
    with pytest.raises(ConfigError) as caught:
        open_model(ModelOptions(**options), print)
    return str(caught.value)


def test_without_jax_the_error_says_both_ways(monkeypatch, model_folder):
    monkeypatch.setitem(sys.modules, "flax", None)
    message = refusal(model=model_folder)
    assert "pip install 'pocket-tts-jax[jax]'" in message
    assert f"pocket-tts-jax export --model {model_folder}" in message
    with pytest.raises(ImportError, match=r"needs flax: pip install .pocket-tts-jax\[jax\]"):
        open_model(ModelOptions(model=model_folder, engine="jax"), print)


def test_jax_speaks_a_model_without_an_export_and_says_how_to_be_fast(model_folder):
    notices: list[str] = []
    opened = open_model(ModelOptions(model=model_folder), notices.append)
    assert opened.engine.name == "jax" and opened.engine.precision == "fp32"
    assert any(f"pocket-tts-jax export --model {model_folder}" in line for line in notices)


def test_an_export_is_spoken_with_litert():
    model = TTSModel.load_model(model=tiny_export(), threads=1, compilation_cache=False)
    assert model.engine.name == "litert" and model.engine.precision == "fp32"


def test_what_cannot_be_honoured_is_refused(model_folder, tmp_path):
    assert "cpu, gpu, tpu" in refusal(device="abacus")
    assert "LiteRT computes on the CPU" in refusal(device="gpu", engine="litert")
    assert "JAX finds no gpu" in refusal(device="cuda", model=model_folder)
    assert "float32" in refusal(device="gpu", quantize=True)
    assert "auto, jax, litert" in refusal(engine="steam")
    assert "float32" in refusal(quantize=True, engine="jax")
    assert "threads" in refusal(threads=0, model=tiny_export())
    assert "pocket-tts-jax export --language" in refusal(engine="litert", language="english")
    assert "exporters.tflite" in refusal(engine="litert", config="hf://a/b/c.yaml")
    assert "is an export for LiteRT" in refusal(engine="jax", model=tiny_export())
    assert "fp32, which --quantize cannot change" in refusal(quantize=True, model=tiny_export())
    assert "hf://owner/repository" in refusal(model="https://example.invalid/model")


def test_a_home_is_written_as_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "manifest.json").touch()
    assert "is an export for LiteRT" in refusal(model="~/export", engine="jax")


def test_a_user_without_a_home_has_no_caches(monkeypatch, caplog):
    import jax

    def homeless(*_: object, **__: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("platformdirs.user_cache_path", homeless)
    before = jax.config.jax_compilation_cache_dir  # pyright: ignore
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        use_compilation_cache()
        assert jax.config.jax_compilation_cache_dir is None  # pyright: ignore
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert "Nothing is kept under 'compiled'" in caplog.text
    assert not default_cache().enabled and "'voices'" in caplog.text
