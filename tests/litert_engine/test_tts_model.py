"""`TTSModel` over an export: options and voices are refused before anything is spoken."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.errors import ConfigError, GenerationError, VoiceError
from pocket_tts_jax.litert_engine.folder import MANIFEST
from pocket_tts_jax.testing.tiny_model import tiny_voice
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.cache import PromptCache
from pocket_tts_jax.voice.state import VoiceState
from tests.exported import MAX_FRAMES, copy_of_export, tiny_export

RECORDING = (0.3 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32), 24000


def load(folder: Path, **options) -> TTSModel:
    return TTSModel.load_model(model=folder, threads=1, compilation_cache=False, **options)


@pytest.fixture(scope="module")
def model() -> TTSModel:
    return load(tiny_export())


def with_another_flow_lm(folder: Path) -> Path:
    """An export whose flow_lm.tflite has another hash, with the same encoder."""
    export = copy_of_export(folder)
    manifest = json.loads((export / MANIFEST).read_text())
    data = (export / "flow_lm.tflite").read_bytes() + bytes(16)
    (export / "flow_lm.tflite").write_bytes(data)
    entry = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["files"]["flow_lm.tflite"] |= entry
    (export / MANIFEST).write_text(json.dumps(manifest))
    return export


def test_models_with_one_encoder_do_not_share_cached_voices(model, tmp_path) -> None:
    other = load(with_another_flow_lm(tmp_path))
    cache = PromptCache(tmp_path / "cache")
    for one, entries in ((model, 1), (model, 1), (other, 2)):
        one.get_state_for_audio_prompt(RECORDING, cache=cache)
        assert len(list(Path(cache.folder).glob("*.safetensors"))) == entries


def test_flow_steps_that_the_export_lacks_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="1, 2, 3, 4 times a frame, not 5"):
        load(tiny_export(), sampler_decode_steps=5)


def test_voices_of_another_model_are_refused_at_once(model) -> None:
    keys = np.zeros((3, 2, 4, 8), np.float32)
    with pytest.raises(VoiceError, match="3 layers"):
        model.generate_audio_stream(VoiceState(keys, keys), "Hello.")


def test_a_chunk_that_does_not_fit_is_named(model) -> None:
    long = tiny_voice(model.config, length=MAX_FRAMES - 10)
    message = r"Chunk 0 \('Some words to speak.*'\): .*--cut-at-words"
    with pytest.raises(GenerationError, match=message):
        model.generate_audio(long, "Some words to speak for a while, and some more.")
