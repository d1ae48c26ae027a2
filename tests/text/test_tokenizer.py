import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pocket_tts_jax.errors import CheckpointError, ConfigError
from pocket_tts_jax.text.tokenizer import load_tokenizer
from tests.folders import GOLDEN

N_BINS = 600


def texts() -> list[str]:
    groups = json.loads((GOLDEN / "texts.json").read_text(encoding="utf-8"))
    return [text for group in groups.values() for text in group]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("sentencepiece", "words.model"), ("tokenizers", "words.json"), ("json", "marked.json")],
)
def test_decoding_gives_the_text_back(kind: str, name: str) -> None:
    tokenizer = load_tokenizer(kind, GOLDEN / name, N_BINS)
    assert tokenizer.n_bins == N_BINS
    text = "Come in, she said. It's warm: 3.14 and 日本 😀!"
    ids = tokenizer.encode(text)
    assert all(0 <= i < N_BINS for i in ids)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(tuple(ids)) == text


def test_a_json_file_is_one_whatever_the_kind_says() -> None:
    named = load_tokenizer("tokenizers", GOLDEN / "words.json", N_BINS)
    by_suffix = load_tokenizer("sentencepiece", str(GOLDEN / "words.json"), N_BINS)
    assert by_suffix.encode("Hello there.") == named.encode("Hello there.")


def test_both_kinds_of_the_same_vocabulary_agree() -> None:
    model = load_tokenizer("sentencepiece", GOLDEN / "words.model", N_BINS)
    converted = load_tokenizer("tokenizers", GOLDEN / "words.json", N_BINS)
    for text in texts():
        if "<s>" not in text and "▁" not in text:  # the libraries' own signs: they differ
            assert model.encode(text) == converted.encode(text), text


@pytest.mark.parametrize("name", ["words.model", "words.json"])
def test_threads_share_a_tokenizer(name: str) -> None:
    tokenizer = load_tokenizer("sentencepiece", GOLDEN / name, N_BINS)
    alone = [tokenizer.encode(text) for text in texts()]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(tokenizer.encode, texts())) == alone


def test_size_must_match_the_configuration() -> None:
    with pytest.raises(ConfigError, match="holds 600 tokens.*n_bins: 4000"):
        load_tokenizer("sentencepiece", GOLDEN / "words.model", 4000)


def test_unknown_kind() -> None:
    with pytest.raises(ConfigError, match="'bpe'.*sentencepiece, tokenizers"):
        load_tokenizer("bpe", GOLDEN / "words.model", N_BINS)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "tokenizer.model", tmp_path):
        with pytest.raises(CheckpointError, match="no tokenizer file at .*tokenizer_path"):
            load_tokenizer("sentencepiece", path, N_BINS)


@pytest.mark.parametrize("content", [b"", b"not a tokenizer", b'{"version": "1.0"}'])
@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_damaged_file(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="Fetch the file again"):
        load_tokenizer("sentencepiece", path, N_BINS)


def test_truncated_file(tmp_path: Path) -> None:
    for name in ("words.model", "words.json"):
        whole = (GOLDEN / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises((CheckpointError, ConfigError)):
            load_tokenizer("sentencepiece", tmp_path / name, N_BINS)
