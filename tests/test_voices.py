"""Voice states, their files in every form, the catalog, and the cache of encoded prompts."""

import json
import os
import signal
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import pocket_tts_jax.atomic as atomic
from pocket_tts_jax.atomic import remove_abandoned
from pocket_tts_jax.catalog import PREDEFINED, default_voice, predefined_voice
from pocket_tts_jax.config import available_configs, load_config, packaged_config
from pocket_tts_jax.errors import VoiceError
from pocket_tts_jax.prompt_cache import PromptCache, fingerprint, prompt_key
from pocket_tts_jax.voices import (
    VoicePrompt,
    VoiceState,
    read_latents,
    read_voice,
    voice_shape,
    write_voice,
)

LAYERS, HEADS, WIDTH, LENGTH = 2, 3, 4, 5


def voice(seed: int = 0, length: int = LENGTH, **changes) -> VoiceState:
    random = np.random.default_rng(seed)
    k, v = random.standard_normal((2, LAYERS, HEADS, length, WIDTH)).astype(np.float32)
    return VoiceState(k, v, **changes)


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


def assert_same(a: VoiceState | VoicePrompt, b: VoiceState) -> None:
    assert isinstance(a, VoiceState)
    assert np.array_equal(a.k, b.k) and np.array_equal(a.v, b.v)
    assert a.k.dtype == a.v.dtype == np.float32


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


def test_catalog_addresses_are_pinned_and_complete():
    assert predefined_voice("german_24l", "juergen") == (
        "hf://kyutai/pocket-tts-without-voice-cloning/languages/german_24l/embeddings/"
        "juergen.safetensors@a7056f505a4a8ca72d8b5fb1440071d6f1a35739"
    )
    for model in available_configs():
        assert default_voice(model) in PREDEFINED
    assert default_voice("english_2026-10") == "alba"
    assert default_voice("portuguese_24l") == "rafael"
    assert not PREDEFINED["cosette"].commercial_use
    with pytest.raises(VoiceError, match="no voice called 'albba'.*alba, anna"):
        predefined_voice("english", "albba")


@pytest.mark.reference
def test_catalog_is_the_references():
    pytest.importorskip("pocket_tts")
    from pocket_tts.default_parameters import get_default_voice_for_language
    from pocket_tts.utils import utils

    ours = {name: entry.recording for name, entry in PREDEFINED.items()}
    assert ours == utils._ORIGINS_OF_PREDEFINED_VOICES
    for model in available_configs():
        assert default_voice(model) == get_default_voice_for_language(model)
        assert predefined_voice(model, "alba") == utils.get_predefined_voice(model, "alba")


def test_fingerprint_sees_names_shapes_and_values():
    random = np.random.default_rng(0)
    base = {"lm.a": random.standard_normal((30, 40)), "lm.b": np.ones(3), "mimi.c": np.ones(2)}
    prints = [fingerprint(base)]
    for change in (
        {"lm.a": base["lm.a"] + 1e-3},
        {"lm.a": base["lm.a"].reshape(40, 30)},
        {"lm.d": np.ones(1)},
        {"lm.b": np.ones(3, np.float32)},
    ):
        prints.append(fingerprint(base | change))
    assert len(set(prints)) == len(prints)
    changed = base | {"mimi.c": np.zeros(2)}
    assert fingerprint(base, "lm.") == fingerprint(changed, "lm.")
    assert fingerprint(base) != fingerprint(changed)


def test_prompt_key_depends_on_all_its_parts():
    audio = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    keys = [
        prompt_key(audio, 24000, "m", truncate=True),
        prompt_key(audio, 24000, "m", truncate=False),
        prompt_key(audio, 16000, "m", truncate=True),
        prompt_key(audio, 24000, "n", truncate=True),
        prompt_key(audio[:-1], 24000, "m", truncate=True),
    ]
    assert len(set(keys)) == len(keys)
    assert prompt_key(audio.copy(), 24000, "m", truncate=True) == keys[0]


def test_cache_hits_misses_and_the_switch(tmp_path):
    cache = PromptCache(tmp_path / "cache")
    assert cache.get("k") is None and cache.size() == 0
    cache.put("k", voice())
    hit = cache.get("k")
    assert hit is not None
    assert_same(hit, voice())
    off = PromptCache(tmp_path / "cache", enabled=False)
    assert off.get("k") is None
    off.put("other", voice())
    assert cache.get("other") is None
    cache.clear()
    assert cache.get("k") is None and cache.size() == 0


def test_a_damaged_entry_is_dropped_and_made_again(tmp_path, caplog):
    cache = PromptCache(tmp_path)
    cache.put("k", voice())
    path = tmp_path / "k.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    assert cache.get("k") is None
    assert "damaged" in caplog.text and not path.exists()
    cache.put("k", voice())
    assert cache.get("k") is not None


def test_the_least_recently_used_go_first(tmp_path):
    cache = PromptCache(tmp_path)
    for age, key in ((300, "old"), (200, "used"), (100, "new")):
        cache.put(key, voice())
        moment = os.stat(tmp_path / f"{key}.safetensors").st_mtime - age
        os.utime(tmp_path / f"{key}.safetensors", (moment, moment))
    assert cache.get("used") is not None  # touches it
    entry = cache.size() // 3
    PromptCache(tmp_path, max_bytes=2 * entry).put("new2", voice())
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["new2", "used"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    PromptCache(tmp_path / "file" / "folder").put("k", voice())
    assert "not cached" in caplog.text


def test_many_threads_share_a_small_cache(tmp_path):
    PromptCache(tmp_path).put("size", voice())
    cache = PromptCache(tmp_path, max_bytes=3 * PromptCache(tmp_path).size())

    def work(number: int) -> None:
        key = str(number % 5)
        cache.put(key, voice(number % 5))
        hit = cache.get(key)
        if hit is not None:  # another thread may have evicted it
            assert_same(hit, voice(number % 5))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(60)))
    assert cache.size() <= cache.max_bytes
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_9_while_writing_the_cache(tmp_path):
    program = """
import sys, time
from pathlib import Path
import numpy as np
import pocket_tts_jax.atomic as atomic
from pocket_tts_jax.prompt_cache import PromptCache
from pocket_tts_jax.voices import VoiceState
def stuck(fd):
    print("written", flush=True)
    time.sleep(60)
atomic.os.fsync = stuck
PromptCache(Path(sys.argv[1])).put("k", VoiceState(*np.ones((2, 2, 3, 5, 4), np.float32)))
"""
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as child:
        assert child.stdout is not None and child.stdout.readline() == "written\n"
        child.kill()
    cache = PromptCache(tmp_path)
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".part" and cache.get("k") is None
    remove_abandoned(tmp_path)
    assert left.exists()  # it could still be someone's
    os.utime(left, (0, 0))
    cache.put("k", voice())
    assert cache.get("k") is not None and not left.exists()


@pytest.fixture(scope="module")
def reference_model():
    """The reference's smallest model with random weights."""
    pytest.importorskip("pocket_tts")
    import torch
    from pocket_tts.models import tts_model
    from pocket_tts.models.mimi import build_mimi
    from pocket_tts.utils import config as reference_config

    tokenizer = Path(__file__).parent.parent.parent / "shared/data/english_tokenizer.json"
    if not tokenizer.exists():
        pytest.skip("needs a tokenizer from ../shared/data")
    config = reference_config.load_config(packaged_config("english_2m_2026-10"))
    config.flow_lm.lookup_table.tokenizer = "tokenizers"
    config.flow_lm.lookup_table.tokenizer_path = str(tokenizer)
    torch.manual_seed(0)
    model = tts_model.TTSModel._from_pydantic_config(config, 0.3, 1, None, -1.0, None)
    width = (config.flow_lm.transformer.d_model, 32)
    model.flow_lm.speaker_proj_weight = torch.nn.Parameter(torch.randn(width))
    model.mimi = build_mimi(config.mimi).eval()
    tts_model.stamp_state_names(model)
    model.max_decoder_frames_per_call = 1  # else its threads decide how sums are grouped
    return model


def reference_audio(model, state) -> np.ndarray:
    import torch

    torch.manual_seed(1)
    return model.generate_audio(state, "Yes.", frames_after_eos=1).numpy()


@pytest.mark.reference
def test_the_reference_speaks_from_our_files(reference_model, tmp_path):
    import torch
    from pocket_tts import export_model_state

    prompt = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 24000)) * 0.1).float()
    state = reference_model.get_state_for_audio_prompt(prompt)
    export_model_state(state, tmp_path / "theirs.safetensors")
    config = load_config(packaged_config("english_2m_2026-10"))
    ours = read_voice(tmp_path / "theirs.safetensors", config)
    assert isinstance(ours, VoiceState) and ours.shape == voice_shape(config)

    latents = np.random.default_rng(1).standard_normal((13, 32)).astype(np.float32)
    metadata = {"model": "english_2m_2026-10", "seconds": "1.04"}
    write_voice(tmp_path / "ours.safetensors", VoiceState(ours.k, ours.v, latents, metadata))
    again = reference_model.get_state_for_audio_prompt(tmp_path / "ours.safetensors")
    for module, tensors in state.items():
        for name, tensor in tensors.items():
            assert torch.equal(again[module][name], tensor)
    assert np.array_equal(
        reference_audio(reference_model, again), reference_audio(reference_model, state)
    )


def test_metadata_is_in_the_files_header(tmp_path):
    write_voice(tmp_path / "v", voice(metadata={"model": "english", "licence": "CC BY 4.0"}))
    whole = (tmp_path / "v").read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    metadata = json.loads(whole[8 : 8 + size])["__metadata__"]
    assert metadata["format"] == "pocket-tts-jax voice" and metadata["format_version"] == "1"
    assert metadata["model"] == "english" and metadata["licence"] == "CC BY 4.0"
