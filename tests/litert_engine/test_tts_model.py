"""`LiteRTSpeaker` on the tiny model: options and voices are refused before anything is spoken."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.errors import ConfigError, GenerationError, VoiceError
from pocket_tts_jax.litert_engine.folder import MANIFEST
from pocket_tts_jax.litert_speaker import LiteRTSpeaker
from pocket_tts_jax.testing.tiny_model import tiny_voice
from pocket_tts_jax.voice.cache import PromptCache
from pocket_tts_jax.voice.state import VoiceState
from tests.exported import MAX_FRAMES, copy_of_export, tiny_export

RECORDING = (0.3 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32), 24000


@pytest.fixture(scope="module")
def speaker() -> LiteRTSpeaker:
    return LiteRTSpeaker(tiny_export(), threads=1, weight_cache=False)


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


def test_models_with_one_encoder_do_not_share_cached_voices(speaker, tmp_path) -> None:
    other = LiteRTSpeaker(with_another_flow_lm(tmp_path), threads=1, weight_cache=False)
    cache = PromptCache(tmp_path / "cache")
    for model, entries in ((speaker, 1), (speaker, 1), (other, 2)):
        model.get_state_for_audio_prompt(RECORDING, cache=cache)
        assert len(list(cache.folder.glob("*.safetensors"))) == entries


def test_flow_steps_that_the_export_lacks_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="1, 2, 3, 4 times a frame, not 5"):
        LiteRTSpeaker(tiny_export(), threads=1, weight_cache=False, sampler_decode_steps=5)


def test_voices_of_another_model_are_refused_at_once(speaker) -> None:
    keys = np.zeros((3, 2, 4, 8), np.float32)
    with pytest.raises(VoiceError, match="3 layers"):
        speaker.generate_audio_stream(VoiceState(keys, keys), "Hello.")


def test_a_chunk_that_does_not_fit_is_named(speaker) -> None:
    long = tiny_voice(speaker.config, length=MAX_FRAMES - 10)
    message = r"Chunk 0 \('Some words to speak.*'\): .*--cut-at-words"
    with pytest.raises(GenerationError, match=message):
        speaker.generate_audio(long, "Some words to speak for a while, and some more.")
