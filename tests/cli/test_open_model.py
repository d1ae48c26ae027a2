"""Opening a model from the options of a command line."""

import sys
from pathlib import Path

import pytest

import pocket_tts_jax
from pocket_tts_jax.engines import EngineName
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.jax_engine.compilation_cache import use_compilation_cache
from pocket_tts_jax.open_model import ModelChoice, open_speaker
from pocket_tts_jax.voice.cache import default_cache


def test_without_jax_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flax", None)
    with pytest.raises(
        ConfigError, match=r"needs flax: pip install .pocket-tts-jax\[jax\].*EXPORT"
    ):
        open_speaker(ModelChoice(), print)
    with pytest.raises(ImportError, match=r"pocket-tts-jax\[jax\]"):
        pocket_tts_jax.TTSModel  # noqa: B018


def test_a_home_is_written_as_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "manifest.json").touch()
    with pytest.raises(ConfigError, match="is an export for LiteRT"):
        open_speaker(ModelChoice(model=Path("~/export"), engine=EngineName.jax), print)


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
    assert "Compiled code cannot be kept" in caplog.text
    assert not default_cache().enabled and "not cached" in caplog.text
