"""The cache of encoded prompts: keys, damage, eviction, threads and a kill."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pocket_tts_jax.files.atomic import remove_abandoned
from pocket_tts_jax.voice.cache import PromptCache, prompt_key
from pocket_tts_jax.weights.checkpoint import fingerprint
from tests.folders import ROOT
from tests.made_up_voice import assert_same, voice


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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
    assert cache.get("k") is None and size_of(tmp_path) == 0
    cache.put("k", voice())
    hit = cache.get("k")
    assert hit is not None
    assert_same(hit, voice())
    off = PromptCache(tmp_path / "cache", enabled=False)
    assert off.get("k") is None
    off.put("other", voice())
    assert cache.get("other") is None


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
    entry = size_of(tmp_path) // 3
    PromptCache(tmp_path, max_bytes=2 * entry).put("new2", voice())
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["new2", "used"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    PromptCache(tmp_path / "file" / "folder").put("k", voice())
    assert "not cached" in caplog.text


def test_many_threads_share_a_small_cache(tmp_path):
    PromptCache(tmp_path).put("size", voice())
    cache = PromptCache(tmp_path, max_bytes=3 * size_of(tmp_path))

    def work(number: int) -> None:
        key = str(number % 5)
        cache.put(key, voice(number % 5))
        hit = cache.get(key)
        if hit is not None:  # another thread may have evicted it
            assert_same(hit, voice(number % 5))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(60)))
    assert size_of(tmp_path) <= cache.max_bytes
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_9_while_writing_the_cache(tmp_path):
    program = """
import sys, time
from pathlib import Path
import numpy as np
import pocket_tts_jax.files.atomic as atomic
from pocket_tts_jax.voice.cache import PromptCache
from pocket_tts_jax.voice.state import VoiceState
def stuck(fd):
    print("written", flush=True)
    time.sleep(60)
atomic.os.fsync = stuck
PromptCache(Path(sys.argv[1])).put("k", VoiceState(*np.ones((2, 2, 3, 5, 4), np.float32)))
"""
    root = ROOT
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
