import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocket_tts_jax.text.chunks import as_written, cut_long_chunks, glue_short_chunks
from pocket_tts_jax.text.prepare import TextRules, split_text
from pocket_tts_jax.text.tokenizer import load_tokenizer
from tests.folders import GOLDEN

WORDS = load_tokenizer("sentencepiece", GOLDEN / "words.model", 600)
MARKED = load_tokenizer("tokenizers", GOLDEN / "marked.json", 600)
RULES = TextRules()

WORD = st.text(alphabet="abcdefghijklmnop", min_size=1, max_size=12)
CHUNKS = st.lists(st.lists(WORD, min_size=1, max_size=30).map(" ".join), min_size=1, max_size=12)


def tokens(text: str, tokenizer=WORDS) -> int:
    return len(tokenizer.encode(text))


@given(CHUNKS, st.integers(8, 40), st.sampled_from([WORDS, MARKED]))
def test_cutting_keeps_words_and_limit(chunks: list[str], limit: int, tokenizer) -> None:
    parts = list(cut_long_chunks(chunks, tokenizer, limit))
    assert " ".join(parts).split() == " ".join(chunks).split()
    assert all(tokens(part, tokenizer) <= limit or " " not in part for part in parts)


def test_cutting_leaves_no_strand() -> None:
    text = " ".join(["and on it went"] * 13)
    assert tokens(text) == 78
    parts = split_text(text, WORDS, RULES, cut_at_words=True)
    assert [len(part.split()) for part in parts] == [26, 26]
    assert split_text(text, WORDS, RULES) == [text[0].upper() + text[1:] + "."]


def test_cutting_leaves_chunks_that_fit() -> None:
    assert list(cut_long_chunks(["One. Two.", "Three."], WORDS, 50)) == ["One. Two.", "Three."]


def test_a_word_that_is_too_long_stays_whole(caplog: pytest.LogCaptureFixture) -> None:
    word = "q" * 80
    parts = split_text(f"We saw {word} there.", WORDS, RULES, cut_at_words=True)
    assert parts == ["We saw", word, "there."]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("chunks", "limit", "expected"),
    [
        (["Yes.", "The stove was small."], 50, ["Yes. The stove was small."]),
        (["The stove was small.", "Yes.", "A" * 60], 50, ["The stove was small. Yes.", "A" * 60]),
        (["Yes.", "No.", "Well."], 50, ["Yes. No. Well."]),
        (["Yes.", "A" * 60], 50, ["Yes.", "A" * 60]),
        (["Yes."], 50, ["Yes."]),
        ([], 50, []),
        # Neither neighbour has room: a sentence of the previous chunk comes over.
        (
            ["It was a cold day. We read on.", "Yes.", "A" * 60],
            14,
            ["It was a cold day.", "We read on. Yes.", "A" * 60],
        ),
        # ... unless it would leave a short chunk behind.
        (["Oh yes. We read on and on.", "Yes.", "A" * 60], 14, None),
    ],
)
def test_gluing(chunks: list[str], limit: int, expected: list[str] | None) -> None:
    assert list(glue_short_chunks(chunks, WORDS, limit)) == (expected or chunks)


@given(CHUNKS, st.integers(8, 60))
def test_gluing_keeps_words_and_limit(chunks: list[str], limit: int) -> None:
    glued = list(glue_short_chunks(chunks, WORDS, limit))
    assert " ".join(glued) == " ".join(chunks)
    assert all(tokens(chunk) <= limit or chunk in chunks for chunk in glued)
    for left, right in zip(glued, glued[1:], strict=False):
        if min(len(left.split()), len(right.split())) < 3:
            assert tokens(f"{left} {right}") > limit


def test_gluing_is_off_by_default() -> None:
    text = "It was cold. We read all day. Yes. The stove was small and we read by candlelight."
    last = "The stove was small and we read by candlelight."
    assert split_text(text, WORDS, RULES, 16) == ["It was cold. We read all day.", "Yes.", last]
    glued = split_text(text, WORDS, RULES, 16, glue_short=True)
    assert glued == ["It was cold.", "We read all day. Yes.", last]


@given(CHUNKS, st.data())
def test_chunks_are_found_in_the_text_they_were_read_from(chunks: list[str], data) -> None:
    """Letters of one's own, two for each of the text's; words joined and cut as one likes."""
    words = " ".join(chunks).split()
    decoded = [word.upper() + word for word in words]
    bounds = sorted(data.draw(st.sets(st.integers(1, len(words)), max_size=6)) | {len(words)})
    spans = list(zip([0, *bounds], bounds, strict=False))
    read = [" ".join(decoded[a:b]) for a, b in spans]
    found = list(as_written(read, "  ".join(words), " ".join(decoded)))
    assert found == [" ".join(words[a:b]) for a, b in spans]


def test_a_word_that_was_cut_belongs_to_both_chunks() -> None:
    read = ["ab cd,", "ef gh"]
    assert list(as_written(read, "one two,three four", "ab cd,ef gh")) == [
        "one two,three",
        "two,three four",
    ]


def test_chunks_stay_where_the_words_do_not_correspond() -> None:
    assert list(as_written(["ab cd"], "one", "ab cd")) == ["ab cd"]
