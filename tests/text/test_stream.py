import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.errors import ConfigError, TextError
from pocket_tts_jax.text.chunks import glue_short_chunks
from pocket_tts_jax.text.prepare import TextRules, split_text
from pocket_tts_jax.text.stream import TextStream, stream_chunks
from pocket_tts_jax.text.tokenizer import Tokenizer
from tests.text.test_prepare import (
    ANY_RULES,
    ANY_TOKENIZER,
    RECORDED,
    RULES,
    TEXTS,
    TOKENIZERS,
    WORDS,
)

SENTENCES = [
    "The stove was small.",
    "Why not?",
    "5. 6 people saw it, and 3.14 is near.",
    "He left; she stayed...",
    "“Come in,” she said.",
    "(An aside!)",
    "Nobody, not even the captain, knew its name,",
    '"Hi?", she said.',
    "Ünder the bridge\nit was dark.",
    "日本。 3.5.",
]
PROSE = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=25).map(" ".join)


def pieces_of(text: str, seed: int, longest: int = 7) -> list[str]:
    draw, pieces, start = random.Random(seed), [], 0
    while start < len(text):
        end = start + draw.randint(1, longest)
        pieces.append(text[start:end])
        start = end
    return pieces


def whole(text: str, tokenizer: Tokenizer, rules: TextRules, max_tokens: int = 50) -> list[str]:
    try:
        return split_text(text, tokenizer, rules, max_tokens)
    except TextError:
        return []


@given(st.one_of(PROSE, TEXTS), ANY_RULES, ANY_TOKENIZER, st.integers(5, 60), st.integers(0, 99))
@settings(max_examples=120)
def test_pieces_change_nothing(
    text: str, rules: TextRules, tokenizer: Tokenizer, max_tokens: int, seed: int
) -> None:
    expected = whole(text, tokenizer, rules, max_tokens)
    assert list(stream_chunks(pieces_of(text, seed), tokenizer, rules, max_tokens)) == expected
    assert list(stream_chunks([text], tokenizer, rules, max_tokens)) == expected


def test_recorded_texts_in_pieces() -> None:
    for case in RECORDED["cases"]:
        arguments = TOKENIZERS[case["tokenizer"]], RULES[case["rules"]], case["max_tokens"]
        chunks = list(stream_chunks(pieces_of(case["text"], 1), *arguments))
        assert chunks == case.get("chunks", []), case["text"]


def test_chunks_leave_early() -> None:
    stream = TextStream(WORDS, TextRules(), 14)
    text = "It was cold. We read all day. The stove was small. Nobody came to see us."
    arrived = {chunk: end for end in range(len(text)) for chunk in stream.feed(text[end])}
    assert arrived == {"It was cold. We read all day.": text.index("Nobody")}
    assert stream.flush() == ["The stove was small.", "Nobody came to see us."]


def test_first_sentence_at_once() -> None:
    stream = TextStream(WORDS, TextRules(), first_sentence_at_once=True)
    assert stream.feed("we read all day. ") == []
    assert stream.feed("T") == ["We read all day."]
    assert stream.feed("he stove was small. It was cold. And") == []
    assert stream.flush() == ["The stove was small. It was cold. And."]
    assert stream.feed("Yes. Of course. But why not? ") == ["Yes. Of course."]
    assert stream.flush() == ["But why not?"]


def test_flush_begins_anew() -> None:
    stream = TextStream(WORDS, TextRules())
    assert stream.feed("we read all d") == []
    assert stream.flush() == ["We read all d."]
    assert stream.feed("ay. then") == []
    assert stream.flush() == ["Ay. then."]
    assert stream.flush() == []
    assert stream.feed("  \n") == [] and stream.flush() == []


def test_cut_at_words_and_gluing() -> None:
    text = "on and " * 40 + "on. Yes."
    stream = TextStream(WORDS, TextRules(), cut_at_words=True)
    streamed = [chunk for piece in pieces_of(text, 3) for chunk in stream.feed(piece)]
    streamed += stream.flush()
    assert streamed == split_text(text, WORDS, TextRules(), cut_at_words=True)
    glued = list(glue_short_chunks(streamed, WORDS, 50))
    assert glued == split_text(text, WORDS, TextRules(), cut_at_words=True, glue_short=True)
    assert streamed[-1] == "Yes." and glued[-1] != "Yes."


def test_memory_and_work_stay_flat() -> None:
    class Watched:
        n_bins = WORDS.n_bins
        longest = total = 0

        def encode(self, text: str) -> list[int]:
            self.longest = max(self.longest, len(text))
            self.total += len(text)
            return WORDS.encode(text)

        def decode(self, ids) -> str:
            return WORDS.decode(ids)

    watched = Watched()
    text = " ".join(SENTENCES[:7]) + " "
    chunks = list(stream_chunks(pieces_of(text * 40, 5), watched, TextRules()))
    assert chunks == split_text(text * 40, WORDS, TextRules())
    assert watched.longest < 400
    assert watched.total < 4 * 40 * len(text)


def test_tokenizer_that_reaches_across_spaces() -> None:
    class Phrases:
        """Knows one token, and it takes words and spaces alike."""

        n_bins = 2

        def encode(self, text: str) -> list[int]:
            return [1] if text else []

        def decode(self, ids) -> str:
            return "x" * len(ids)

    with pytest.raises(ConfigError, match="use split_text"):
        TextStream(Phrases(), TextRules())
    with pytest.raises(ConfigError, match="at least 1"):
        TextStream(WORDS, TextRules(), 0)
