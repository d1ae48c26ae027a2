# pyright: reportArgumentType=false
# The stubs have those parts of a tokenizer that the chunks need.

import functools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.config import load_config, packaged_config
from pocket_tts_jax.errors import ConfigError, TextError
from pocket_tts_jax.text import chunks as chunking
from pocket_tts_jax.text import prepare as front
from pocket_tts_jax.text.prepare import (
    TextRules,
    iter_chunks,
    make_prompt,
    prepare_text,
    split_text,
)
from pocket_tts_jax.text.tokenizer import Tokenizer, load_tokenizer
from tests.folders import GOLDEN, SHARED

ENGLISH = SHARED / "data" / "english_tokenizer.json"
RECORDED: dict[str, Any] = json.loads((GOLDEN / "text.json").read_text(encoding="utf-8"))
RULES = {name: TextRules(**rules) for name, rules in RECORDED["rules"].items()}
TOKENIZERS = {
    name: load_tokenizer(kind, GOLDEN / name, RECORDED["n_bins"])
    for name, kind in RECORDED["kinds"].items()
}
WORDS = TOKENIZERS["words.model"]
SETUPS = sorted({(c["tokenizer"], c["rules"]) for c in RECORDED["cases"]})

# Random text with far more marks, digits, spaces and odd letters than a uniform draw would have.
PIECES = st.one_of(
    st.sampled_from([*".!?…,;:-–—\"'”’)]»(«“ \n\r\t", "  ", "...", "3.14", "Hi. ", " and ", "<s>"]),
    st.sampled_from(["é", "ß", "日", "٣", "²", "😀", "\u00a0", "\u0301", "\ufffd", "▁", "\x00"]),
    st.text(alphabet="abcdefgh ", min_size=1, max_size=8),
    st.text(max_size=4),
)
TEXTS = st.lists(PIECES, min_size=1, max_size=25).map("".join)
ANY_RULES = st.sampled_from(sorted(RULES)).map(RULES.__getitem__)
ANY_TOKENIZER = st.sampled_from(sorted(TOKENIZERS)).map(TOKENIZERS.__getitem__)


class Counting:
    """A tokenizer that counts its calls and the tokens it decodes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.n_bins = tokenizer, tokenizer.n_bins
        self.calls = self.decoded = 0

    def encode(self, text: str) -> list[int]:
        self.calls += 1
        return self.tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        self.calls += 1
        self.decoded += len(ids)
        return self.tokenizer.decode(ids)


def speak(text: str, tokenizer: Tokenizer, rules: TextRules, max_tokens: int = 50) -> list[Any]:
    """What the recorded reference notes: text, ids, frames after the end, most frames."""
    prompts = [
        make_prompt(chunk, tokenizer, rules)
        for chunk in split_text(text, tokenizer, rules, max_tokens)
    ]
    return [[p.text, list(p.ids), p.frames_after_eos, p.max_frames] for p in prompts]


@pytest.mark.parametrize(("name", "rules"), SETUPS)
def test_recorded_reference(name: str, rules: str, caplog: pytest.LogCaptureFixture) -> None:
    cases = [c for c in RECORDED["cases"] if (c["tokenizer"], c["rules"]) == (name, rules)]
    for case in cases:
        caplog.clear()
        arguments = case["text"], TOKENIZERS[name], RULES[rules], case["max_tokens"]
        if "chunks" in case:
            assert split_text(*arguments) == case["chunks"], case["text"]
            assert len(caplog.records) == case["warnings"], case["text"]
        if "error" in case:
            with pytest.raises(TextError, match="nothing to speak"):
                speak(*arguments)
        else:
            assert speak(*arguments) == case["prompts"], case["text"]


def test_there_are_enough_recorded_cases() -> None:
    assert len({case["text"] for case in RECORDED["cases"]}) >= 200
    assert sum(len(case["prompts"]) > 1 for case in RECORDED["cases"]) >= 50
    assert sum("error" in case for case in RECORDED["cases"]) >= 10


def test_rules_of_the_packaged_configurations() -> None:
    for name, source in (("english", "english_2026-10"), ("french", "french")):
        assert TextRules.from_config(load_config(packaged_config(source))) == RULES[name]


@given(TEXTS, ANY_RULES, ANY_TOKENIZER, st.integers(1, 60))
@settings(max_examples=100)
def test_random_text_keeps_every_letter(
    text: str, rules: TextRules, tokenizer: Tokenizer, max_tokens: int
) -> None:
    try:
        prepared = prepare_text(text, rules).text
    except TextError:
        return
    kept = tokenizer.decode(tokenizer.encode(prepared.strip()))
    chunks = split_text(text, tokenizer, rules, max_tokens)
    assert "".join("".join(chunks).split()) == "".join(kept.split())
    for chunk in filter(str.strip, chunks):
        prompt = make_prompt(chunk, tokenizer, rules)
        assert prompt.frames_after_eos in (3, 5)
        assert prompt.max_frames == front.max_frames(len(prompt.ids))


@given(TEXTS, ANY_TOKENIZER)
def test_numbers_are_found_as_if_all_was_decoded(text: str, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(text)
    for cut in range(1, len(ids)):
        before, after = tokenizer.decode(ids[:cut]), tokenizer.decode(ids[cut:])
        expected = before[-1:] == "." and before[-2:-1].isdigit() and after[:1].isdigit()
        inside_character = "\ufffd" in (before[-1:], after[:1])
        if not inside_character:
            assert chunking._within_number(ids, cut, tokenizer) == expected, (text, cut)


SENTENCES = st.lists(
    st.tuples(
        st.text(alphabet="abcdefghijklmnop", min_size=1, max_size=9), st.sampled_from([*".,;!", ""])
    ).map("".join),
    min_size=1,
    max_size=120,
).map(" ".join)


@given(SENTENCES, st.integers(4, 50))
def test_no_chunk_is_too_long_where_it_could_be_cut(text: str, max_tokens: int) -> None:
    for chunk in split_text(text, WORDS, TextRules(), max_tokens):
        could_be_cut = any(mark in chunk[:-1] for mark in ".,;!")
        assert len(WORDS.encode(chunk)) <= max_tokens or not could_be_cut


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 40))
def test_neighbours_share_a_chunk_while_they_fit(counts: list[int], max_tokens: int) -> None:
    segments = [(count, f"s{i}") for i, count in enumerate(counts)]
    chunks = [chunk.split() for chunk in chunking.pack(iter(segments), max_tokens)]
    assert [name for chunk in chunks for name in chunk] == [name for _, name in segments]
    tokens = dict((name, count) for count, name in segments)
    sums = [sum(tokens[name] for name in chunk) for chunk in chunks]
    assert all(s <= max_tokens or len(c) == 1 for s, c in zip(sums, chunks, strict=True))
    following = [tokens[chunk[0]] for chunk in chunks[1:]]
    assert all(s + f > max_tokens for s, f in zip(sums, following, strict=False))


@pytest.mark.parametrize("sentence", ["It is 3.14 or so. ", "5.5", "日٣.", "<s>.", "Hi! "])
def test_work_grows_with_the_length(sentence: str) -> None:
    for name, tokenizer in TOKENIZERS.items():
        work = []
        for repeats in (40, 160):
            counting = Counting(tokenizer)
            split_text(sentence * repeats, counting, TextRules())
            work.append(counting.decoded)
        assert work[1] < 4.5 * work[0], name


def test_chunks_are_made_when_asked_for() -> None:
    lazy, whole = Counting(WORDS), Counting(WORDS)
    text = "The stove was small, and the winter was long. " * 50
    first = next(iter_chunks(text, lazy, TextRules()))
    assert split_text(text, whole, TextRules())[0] == first
    assert lazy.calls * 5 < whole.calls


def test_long_chunk_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert len(split_text("on and " * 60, WORDS, TextRules())) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "more than the limit of 50" in caplog.text and "'On and on" in caplog.text


@pytest.mark.parametrize("text", ["", "  ", "\n\t", "\u00a0"])
def test_nothing_to_speak(text: str) -> None:
    with pytest.raises(TextError, match="Pass at least one word"):
        split_text(text, WORDS, TextRules())


@pytest.mark.parametrize("text", ["😀", "...", "?!", "—", "()"])
def test_marks_and_emoji_are_passed_on(text: str) -> None:
    assert len(split_text(text, WORDS, TextRules())) == 1


def test_half_a_surrogate_pair() -> None:
    with pytest.raises(TextError, match="Character 2 .*right encoding"):
        prepare_text("ab\ud83d", TextRules())


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigError, match="max_tokens must be at least 1, got 0"):
        split_text("Hello.", WORDS, TextRules(), 0)
    with pytest.raises(ConfigError, match="'ab'.*single characters"):
        TextRules(replace_characters={"ab": "c"})


def test_frame_limit() -> None:
    assert [front.max_frames(n) for n in (0, 1, 12, 50)] == [25, 30, 75, 234]
    assert front.max_frames(12, frame_rate=25.0) == 150


def test_published_english_vocabulary() -> None:
    if not ENGLISH.exists():
        pytest.skip(f"needs {ENGLISH.name} of the published model in ../shared/data")
    tokenizer = load_tokenizer("tokenizers", ENGLISH, 4000)
    text = "Pi is 3.14. e is 2.718! “We’ve” seen (both) of them; haven't we? "
    chunks = split_text(text * 3, tokenizer, RULES["english"])
    assert len(chunks) == 3
    kept = prepare_text(text * 3, RULES["english"]).text
    assert "".join("".join(chunks).split()) == "".join(kept.split())
    assert not any(chunk.startswith("14") for chunk in chunks)


@functools.cache
def reference_tokenizer(name: str) -> Any:
    conditioner = pytest.importorskip("pocket_tts.modules.text_conditioner")
    return conditioner.build_tokenizer(RECORDED["n_bins"], str(GOLDEN / name))


@pytest.mark.reference
@given(
    TEXTS, st.sampled_from(sorted(RULES)), st.sampled_from(sorted(TOKENIZERS)), st.integers(1, 60)
)
@settings(max_examples=200)
def test_live_reference(text: str, rules: str, name: str, max_tokens: int) -> None:
    chunking = pytest.importorskip("pocket_tts.models.text_chunking")
    theirs = reference_tokenizer(name)
    tokenizer = TOKENIZERS[name]
    options = RECORDED["rules"][rules]
    try:
        expected = chunking.split_into_best_sentences(theirs, text, max_tokens, **options)
    except ValueError:
        with pytest.raises(TextError):
            split_text(text, tokenizer, RULES[rules], max_tokens)
        return
    assert split_text(text, tokenizer, RULES[rules], max_tokens) == expected
    for chunk in filter(str.strip, expected):
        fed, guess = chunking.prepare_text_prompt(chunk, **options)
        prompt = make_prompt(chunk, tokenizer, RULES[rules])
        assert (prompt.text, prompt.frames_after_eos) == (fed, guess + 2)
        assert list(prompt.ids) == theirs.encode(fed)
