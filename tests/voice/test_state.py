"""Voice states and their files in every form."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import pocket_tts_jax.files.atomic as atomic
from pocket_tts_jax.audio.timbre import Timbre
from pocket_tts_jax.config import available_configs, load_config, packaged_config
from pocket_tts_jax.errors import VoiceError
from pocket_tts_jax.voice.state import (
    VoicePrompt,
    VoiceState,
    read_latents,
    read_voice,
    voice_shape,
    write_voice,
)
from tests.made_up_voice import HEADS, LAYERS, LENGTH, WIDTH, assert_same, voice


def reference_tensors(state: VoiceState, slots: int = LENGTH) -> dict[str, np.ndarray]:
    """The reference's layout of `state`, unused slots NaN as it leaves them."""
    tensors = {}
    for layer in range(LAYERS):
        cache = np.full((2, 1, slots, HEADS, WIDTH), np.nan, np.float32)
        cache[0, 0, :LENGTH] = state.k[layer].transpose(1, 0, 2)
        cache[1, 0, :LENGTH] = state.v[layer].transpose(1, 0, 2)
        name = f"transformer.layers.{layer}.self_attn"
        tensors[f"{name}/cache"] = cache
        tensors[f"{name}/offset"] = np.array([LENGTH], np.int64)
        tensors[f"{name}/pad"] = np.zeros(1, np.int64)
    return tensors


def test_round_trip_keeps_everything(tmp_path):
    latents = np.random.default_rng(1).standard_normal((4, 32)).astype(np.float32)
    original = voice(
        latents=latents, metadata={"source": "me", "seconds": "0.32", "licence": "CC0"}
    )
    write_voice(tmp_path / "v.safetensors", original)
    back = read_voice(tmp_path / "v.safetensors")
    assert_same(back, original)
    assert isinstance(back, VoiceState) and back.latents is not None
    assert np.array_equal(back.latents, latents)
    assert dict(original.metadata).items() <= dict(back.metadata).items()
    found = read_latents(tmp_path / "v.safetensors")
    assert found is not None and np.array_equal(found, latents)
    assert [p.name for p in tmp_path.iterdir()] == ["v.safetensors"]


def test_equal_voices_are_equal_files(tmp_path):
    for name in ("a", "b"):
        write_voice(tmp_path / name, voice(metadata={"source": "me"}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_grows_with_the_prompt_only(tmp_path):
    sizes = []
    for length in (10, 20):
        write_voice(tmp_path / "v", voice(length=length))
        sizes.append((tmp_path / "v").stat().st_size)
    per_frame = 2 * LAYERS * HEADS * WIDTH * 4
    assert abs(sizes[1] - sizes[0] - 10 * per_frame) < 64


@pytest.mark.parametrize("slots", [LENGTH, LENGTH + 7])
def test_reference_layout_with_unused_slots(tmp_path, slots):
    save_file(reference_tensors(voice(), slots), tmp_path / "v")
    assert_same(read_voice(tmp_path / "v"), voice())
    assert read_latents(tmp_path / "v") is None


def test_older_layout_counts_by_length(tmp_path):
    tensors = reference_tensors(voice(), LENGTH + 3)
    for layer in range(LAYERS):
        name = f"transformer.layers.{layer}.self_attn"
        del tensors[f"{name}/offset"], tensors[f"{name}/pad"]
        tensors[f"{name}/current_end"] = np.zeros(LENGTH, np.float32)
    save_file(tensors, tmp_path / "v")
    assert_same(read_voice(tmp_path / "v"), voice())


def test_half_precision_is_widened(tmp_path):
    tensors = reference_tensors(voice())
    half = {n: t.astype(np.float16) if n.endswith("cache") else t for n, t in tensors.items()}
    save_file(half, tmp_path / "v")
    back = read_voice(tmp_path / "v")
    assert isinstance(back, VoiceState) and back.k.dtype == np.float32
    assert np.array_equal(back.k, voice().k.astype(np.float16).astype(np.float32))


def test_first_releases_voice_is_a_prompt(tmp_path):
    config = load_config(packaged_config("english_2m_2026-10"))
    width = config.flow_lm.transformer.d_model
    embeddings = np.random.default_rng(0).standard_normal((1, 7, width)).astype(np.float32)
    save_file({"audio_prompt": embeddings}, tmp_path / "v")
    prompt = read_voice(tmp_path / "v", config)
    assert isinstance(prompt, VoicePrompt)
    assert np.array_equal(prompt.embeddings, embeddings[0])
    with pytest.raises(VoiceError, match="width 112; english has width 1024"):
        english = load_config(packaged_config("english"))
        read_voice(tmp_path / "v", english, model="english")


def test_another_models_voice_names_both(tmp_path):
    write_voice(tmp_path / "v", voice(metadata={"model": "tiny"}))
    config = load_config(packaged_config("english"))
    message = "tiny with 2 layers and 3 key/value heads of width 4; english has 6 layers and 16 "
    with pytest.raises(VoiceError, match=message):
        read_voice(tmp_path / "v", config, model="english")


def test_every_models_own_voice_fits(tmp_path):
    for name in available_configs():
        config = load_config(packaged_config(name))
        layers, heads, width = voice_shape(config)
        cache = np.ones((layers, heads, 2, width), np.float32)
        write_voice(tmp_path / "v", VoiceState(cache, cache))
        read_voice(tmp_path / "v", config)


def test_other_weights_of_the_same_shape_are_told_apart(tmp_path):
    write_voice(tmp_path / "v", voice(metadata={"model": "older", "fingerprint": "a"}))
    read_voice(tmp_path / "v", model_fingerprint="a")
    read_voice(tmp_path / "v")
    with pytest.raises(VoiceError, match="was made for older, not for newer"):
        read_voice(tmp_path / "v", model="newer", model_fingerprint="b")


def test_a_timbre_is_in_the_metadata(tmp_path):
    plain = voice()
    assert plain.timbre is None
    write_voice(tmp_path / "v", replace(plain, metadata={"pitch": "2.1"}))
    found = read_voice(tmp_path / "v")
    assert isinstance(found, VoiceState) and found.timbre == Timbre(pitch=2.1, formants=1.0)
    for wrong in ("0.4", "high", "nan"):
        with pytest.raises(VoiceError, match="timbre cannot be used"):
            replace(plain, metadata={"pitch": "1", "formants": wrong})


def drop(name):
    return lambda tensors: tensors.pop(f"transformer.layers.1.self_attn/{name}")


def put(name, value):
    key = f"transformer.layers.1.self_attn/{name}"
    return lambda tensors: tensors.update({key: np.array(value)})


def nan_in_use(tensors):
    tensors["transformer.layers.1.self_attn/cache"][1, 0, LENGTH - 1, 0, 0] = np.nan


def only_extras(tensors):
    tensors.clear()
    tensors["weights"] = np.zeros(3, np.float32)


def skip_a_layer(tensors):
    for name in ("cache", "offset", "pad"):
        key = f"transformer.layers.0.self_attn/{name}"
        tensors[f"transformer.layers.4.self_attn/{name}"] = tensors.pop(key)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop("cache"), "layer 1 has a cache of shape None"),
        (drop("offset"), "neither an offset"),
        (put("offset", [LENGTH - 1]), "end at different positions"),
        (put("offset", [-1]), "end at different positions"),
        (put("pad", [2]), "padding in front"),
        (put("cache", np.zeros((2, 2, 5, 3, 4), np.float32)), "cache of shape"),
        (put("cache", np.zeros((2, 1, 5, 3, 4), np.int8)), "cache of int8"),
        (put("cache", np.zeros((2, 1, 4, 3, 4), np.float32)), "5 of 4 slots"),
        (put("cache", np.zeros((2, 1, 5, 3, 8), np.float32)), "different shapes"),
        (nan_in_use, "NaN or infinity"),
        (only_extras, "attention layers"),
        (skip_a_layer, "attention layers"),
    ],
)
def test_what_is_no_voice_is_refused(tmp_path, spoil, message):
    tensors = reference_tensors(voice())
    spoil(tensors)
    save_file(tensors, tmp_path / "v")
    with pytest.raises(VoiceError, match=message):
        read_voice(tmp_path / "v")


def test_a_truncated_file_is_refused(tmp_path):
    write_voice(tmp_path / "v", voice())
    whole = (tmp_path / "v").read_bytes()
    for size in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "v").write_bytes(whole[:size])
        with pytest.raises(VoiceError, match="damaged"):
            read_voice(tmp_path / "v")


def test_any_flipped_bit_of_our_files_is_noticed(tmp_path):
    path = tmp_path / "v"
    write_voice(path, voice(latents=np.ones((2, 32), np.float32)))
    whole = path.read_bytes()
    (header,) = struct.unpack("<Q", whole[:8])
    for position in np.linspace(8 + header, len(whole) - 1, 40).astype(int):
        spoiled = bytearray(whole)
        spoiled[position] ^= 1
        path.write_bytes(spoiled)
        with pytest.raises(VoiceError, match="damaged"):
            read_voice(path)


def test_a_newer_format_asks_for_an_update(tmp_path):
    write_voice(tmp_path / "v", voice())
    with safe_open(tmp_path / "v", framework="numpy") as file:
        metadata = dict(file.metadata(), format_version="9")
    save_file(load_file(tmp_path / "v"), tmp_path / "w", metadata)
    with pytest.raises(VoiceError, match="Update pocket-tts-jax"):
        read_voice(tmp_path / "w")


def test_not_a_voice_at_all(tmp_path):
    with pytest.raises(VoiceError, match="no voice file at"):
        read_voice(tmp_path / "missing.safetensors")
    (tmp_path / "text").write_text("RIFF is not what this is")
    with pytest.raises(VoiceError, match="not a safetensors file"):
        read_voice(tmp_path / "text")
    with pytest.raises(VoiceError, match="damaged or not"):
        read_voice(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_nan_ever_enters_a_state(value):
    k = voice().k.copy()
    k[0, 0, 0, 0] = value
    with pytest.raises(VoiceError, match="finite"):
        VoiceState(k, k)


def test_a_state_has_positions_and_one_shape():
    with pytest.raises(VoiceError, match="at least one"):
        VoiceState(voice().k[:, :, :0], voice().v[:, :, :0])
    with pytest.raises(VoiceError, match="one shape"):
        VoiceState(voice().k, voice().v[:1])


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    write_voice(tmp_path / "v", voice(0))
    before = (tmp_path / "v").read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(VoiceError, match="No space left"):
        write_voice(tmp_path / "v", voice(1))
    assert (tmp_path / "v").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["v"]


def test_metadata_is_in_the_files_header(tmp_path):
    write_voice(tmp_path / "v", voice(metadata={"model": "english", "licence": "CC BY 4.0"}))
    whole = (tmp_path / "v").read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    metadata = json.loads(whole[8 : 8 + size])["__metadata__"]
    assert metadata["format"] == "pocket-tts-jax voice" and metadata["format_version"] == "1"
    assert metadata["model"] == "english" and metadata["licence"] == "CC BY 4.0"
