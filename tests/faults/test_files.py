"""A little of `tests.faults.attack`: no damage crashes, none passes where a checksum is known."""

import os
import stat
from pathlib import Path

import pytest

from pocket_tts_jax.errors import TTSError
from pocket_tts_jax.files import verify
from pocket_tts_jax.files.verify import SUMS, is_intact, sums_of, verify_all, write_sums
from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.voice.cache import PromptCache
from pocket_tts_jax.weights.source import EMBEDDED
from tests.exported import tiny_export
from tests.faults.attack import outcome
from tests.faults.damage import KINDS, damaged
from tests.faults.subjects import AUDIO, GRAPHS, Subject, subjects
from tests.made_up_voice import voice

PLAIN = ("model.safetensors", "tiny.safetensors", "config.yaml", "tokenizer.model", "voice.json")
NAMES = (
    *("weights", "voice", "config", "tokenizer", "manifest", *GRAPHS, "packed weights", *AUDIO),
    *(f"plain {name}" for name in (*PLAIN, "lexicon.json")),
)
EACH = 6


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    folder = tmp_path_factory.mktemp("attacked")
    return subjects(write_model(folder / "tiny"), tiny_export(), folder)


@pytest.fixture(autouse=True)
def own_stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "cache_folder", lambda name: tmp_path / name)


@pytest.mark.slow
def test_no_kind_is_left_out(attacked: dict[str, Subject]) -> None:
    assert set(attacked) == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_damage_is_refused_or_harmless(attacked: dict[str, Subject], name: str) -> None:
    subject = attacked[name]
    original = subject.path.read_bytes()
    subject.read()
    try:
        for kind in KINDS:
            found = {outcome(subject, data) for data in damaged(original, kind, EACH)}
            assert found <= {"refused", "accepted"}, kind
    finally:
        subject.path.write_bytes(original)
    subject.read()


def test_every_damage_changes_the_data() -> None:
    data = bytes(range(256)) * 8
    for kind in KINDS:
        results = list(damaged(data, kind, 20))
        assert len(results) == 20 and data not in results
        assert results == list(damaged(data, kind, 20))  # the same for a seed


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    from tests.faults.corpus import READERS

    for name, read in READERS.items():
        if name.endswith((".mp3", ".wav")):
            continue  # a recording may come through a pipe
        path = tmp_path / kind / name
        path.parent.mkdir(exist_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()
        with pytest.raises(TTSError):
            read(path)


def test_a_file_is_hashed_again_when_it_was_touched(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"right")
    (digest,) = sums_of(tmp_path).values()
    monkeypatch.setattr(verify, "_SETTLED_NS", 0)
    hashed: list[Path] = []
    hash_it = verify.digest_of
    monkeypatch.setattr(verify, "digest_of", lambda p, d: hashed.append(p) or hash_it(p, d))
    assert is_intact(path, digest) and is_intact(path, digest) and len(hashed) == 1
    assert is_intact(path, digest, trust_stamp=False) and len(hashed) == 2
    state = path.stat()
    path.write_bytes(b"wrong")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # time and size as they were
    assert not is_intact(path, digest)
    assert not is_intact(path, "0" * 64)


def test_a_file_changed_a_moment_ago_is_not_trusted(tmp_path: Path) -> None:
    """Two changes within the clock's tick leave one change time."""
    path = tmp_path / "file"
    path.write_bytes(b"right")
    (digest,) = sums_of(tmp_path).values()
    assert is_intact(path, digest)
    assert not (tmp_path / "verified").exists()


def test_checksums_are_found_above_voices_and_checked(tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "a").write_bytes(b"a")
    write_sums(tmp_path, sums_of(tmp_path))
    assert verify.damage(tmp_path / "voices" / "a") is None and verify_all(tmp_path) == []
    (tmp_path / "voices" / "a").write_bytes(b"b")
    assert "damaged" in str(verify.damage(tmp_path / "voices" / "a"))
    assert len(verify_all(tmp_path)) == 1
    (tmp_path / SUMS).write_text("nonsense\n")
    assert "no line of checksums" in str(verify.damage(tmp_path / "voices" / "a"))


def test_the_packaged_voice_is_what_its_checksums_say() -> None:
    assert verify_all(EMBEDDED) == []
    listed = (EMBEDDED / SUMS).read_text()
    for name in ("model.safetensors", "tokenizer.model", "config.yaml", "voices/joe.safetensors"):
        assert name in listed


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_cached_voices_are_for_their_owner(tmp_path: Path) -> None:
    cache = PromptCache(tmp_path / "voices")
    cache.put("key", voice())
    (file,) = Path(cache.folder).iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(cache.folder).stat().st_mode) == 0o700
