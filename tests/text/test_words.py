"""Words of the user's text, found again in the tokens of the chunks."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.testing.tiny_model import write_model
from pocket_tts_jax.text.lexicon import Lexicon
from pocket_tts_jax.text.numbers.normalize import normalize
from pocket_tts_jax.text.pipeline import TextOptions, iter_prompts
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.text.traced import Traced, shares, sub
from pocket_tts_jax.text.typography import fold_typography
from pocket_tts_jax.text.words import WordFinder, spans_of, word_spans
from pocket_tts_jax.weights.source import EMBEDDED, open_source
from tests.folders import GOLDEN, SHARED

READINGS = json.loads((GOLDEN / "normalize.json").read_text(encoding="utf-8"))
WORDS = st.sampled_from(
    "the train was late again well-known naïve it's WCAG C++ end.Start — - … 😀 ☃ ½ 中文 “so” (yes)"
    " 12 3.14 $5 million $19.99 1999 3:45 pm May 3, 10–20 km/h 1/2 & % Dr. Smith 21st a@b.com x=2"
    " [pause:0.2] yes. no, why? stop! wait; this: three".split(" ")
)
TEXTS = st.lists(WORDS, min_size=1, max_size=30).map(" ".join)


@pytest.fixture(scope="module")
def embedded():
    source = open_source()
    return source, load_tokenizer("sentencepiece", source.tokenizer, 80)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    source = open_source(model=write_model(tmp_path_factory.mktemp("m") / "tiny"))
    table = source.config.flow_lm.lookup_table
    return source, load_tokenizer(table.tokenizer, source.tokenizer, table.n_bins)


def english():
    path = SHARED / "data" / "english_tokenizer.json"
    if not path.exists():
        pytest.skip("no published vocabulary on this machine")
    return load_tokenizer("tokenizers", path, 4000)


def prompts(model, text, max_tokens=30, **options):
    source, tokenizer = model
    options = TextOptions(**({"pauses": True} | options))  # pyright: ignore
    items = iter_prompts(text, tokenizer, source, options, max_tokens, words=True)
    return [item for item in items if isinstance(item, Prompt)]


def said(model, text, **options):
    """(word, what the model is fed for it) in order."""
    return [
        (word.text, model[1].decode(list(prompt.ids[word.first_token : word.last_token])).strip())
        for prompt in prompts(model, text, **options)
        for word in prompt.words
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"It\'s 12," (he said).', ["It's", "12", "he", "said"]),
        ("well-known—so — it… went -- on--and", ["well-known", "so", "it", "went", "on", "and"]),
        ("C++ & 5% of $3.50: U.S.A.!", ["C++", "&", "5%", "of", "$3.50", "U.S.A"]),
        (" … — \n", []),
        ("¿Qué? «Sí»", ["Qué", "Sí"]),
    ],
)
def test_what_a_word_is(text, words):
    assert [text[start:end] for start, end in word_spans(text)] == words


def test_a_number_stays_one_word(tiny):
    assert said(tiny, "I saw 12 cats.", normalize=True) == [
        ("I", "I"),
        ("saw", "saw"),
        ("12", "twelve"),
        ("cats", "cats"),
    ]


def test_each_of_several_words_has_its_share(tiny):
    words = dict(
        said(tiny, "It was $5 million on May 3, 1999 at 3:45 pm.", max_tokens=100, normalize=True)
    )
    assert words["$5"] == "five" and words["million"] == "million dollars"
    assert words["May"] == "May" and words["3"].strip(",") == "third"
    assert words["1999"] == "nineteen ninety-nine"
    assert words["3:45"] == "three forty-five" and words["pm"] == "P M"


def test_lexicon_typography_and_pauses(tiny):
    lexicon = Lexicon({"WCAG": "W C A G", "silent": ""})
    text = "“WCAG” is silent. [pause:0.5] It\u2019s naïve — yes."
    words = said(tiny, text, lexicon=lexicon, plain_typography=True)
    assert [word for word, _ in words] == ["WCAG", "is", "It\u2019s", "naïve", "yes"]
    assert dict(words)["WCAG"] == "W C A G" and dict(words)["It\u2019s"] == "It's"


def test_phonemes_belong_to_their_word(embedded):
    source, tokenizer = embedded
    for word, phonemes in said(embedded, "The 3 well-known cats are here.", max_tokens=90):
        spoken = normalize(word, "en", ascii_only=True)
        alone = tokenizer.decode(tokenizer.encode(f"so {spoken} so")).split()[1:-1]
        assert phonemes.rstrip(".").split() == alone, word


def test_a_word_that_is_cut_goes_on(tiny):
    text = "Please call (555) 123-4567 now, and tell them everything that you know."
    cut = [
        (prompt.words[-1].text, prompt.words[-1].goes_on)
        for prompt in prompts(tiny, text, max_tokens=8, normalize=True)
    ]
    assert ("123-4567", True) in cut or ("555", True) in cut
    assert cut[-1] == ("know", False)
    assert [w.goes_on for p in prompts(tiny, "One two. Three four.", 8) for w in p.words] == [
        False
    ] * 4


def test_a_chunk_may_end_without_a_mark(tiny):
    text = "One two three four five six seven eight nine ten."
    found = prompts(tiny, text, 8, cut_at_words=True)
    assert len(found) > 1
    assert not any(word.goes_on for prompt in found for word in prompt.words)


def check(model, text, **options):
    spans = []
    for prompt in prompts(model, text, **options):
        end = 0
        for word in prompt.words:
            assert text[word.first_character : word.last_character] == word.text
            assert 0 <= word.first_token < word.last_token <= len(prompt.ids)
            if word.first_token >= end:
                end = word.last_token
            else:  # spoken as one with its neighbour
                assert word.last_token == end
            if spans and spans[-1] == (word.first_character, word.last_character):
                continue
            spans.append((word.first_character, word.last_character))
        assert [w.goes_on for w in prompt.words[:-1]] == [False] * len(prompt.words[:-1])
    assert spans == sorted(set(spans))
    return spans


def expected(text):
    """Words of the text without its pause marks."""
    blank = re.sub(r"\[pause:[^\]]*\]", lambda match: " " * len(match[0]), text)
    return word_spans(blank)


SPEECH = {"max_tokens": st.sampled_from([5, 12, 30, 100]), "glue_short_chunks": st.booleans()}
SPEECH |= {"cut_at_words": st.booleans(), "plain_typography": st.booleans()}


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, options=st.fixed_dictionaries(SPEECH | {"normalize": st.booleans()}))
def test_every_word_has_tokens(tiny, text, options):
    if not any(map(str.isalnum, re.sub(r"\[pause:[^\]]*\]", "", text))):
        return
    assert check(tiny, text, **options) == expected(text)


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, options=st.fixed_dictionaries(SPEECH | {"normalize": st.booleans()}))
def test_every_word_has_tokens_of_the_published_vocabulary(tiny, text, options):
    if not any(map(str.isalnum, re.sub(r"\[pause:[^\]]*\]", "", text))):
        return
    assert check((tiny[0], english()), text, **options) == expected(text)


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, options=st.fixed_dictionaries(SPEECH))
def test_words_of_the_embedded_voice(embedded, text, options):
    """It has no sound for emoji and Chinese; all other words have tokens."""
    if not any(c.isalnum() and c.isascii() for c in re.sub(r"\[pause:[^\]]*\]", "", text)):
        return
    silent = {"😀", "☃", "中文"}
    heard = [(a, b) for a, b in expected(text) if text[a:b] not in silent]
    assert check(embedded, text, **options) == heard


# Errors by design: marks such as <A>, and halves of surrogate pairs.
ANY = st.characters(exclude_characters="<[", exclude_categories=["Cs"])


@settings(max_examples=200, deadline=None)
@given(st.text(ANY, max_size=60))
def test_any_characters(tiny, text):
    # A letter that becomes a mark, such as U+02BC, is an error if it is alone.
    if not any(map(str.isalnum, fold_typography(text))):
        return
    check(tiny, text)
    check(tiny, text, normalize=True, plain_typography=True)


@pytest.mark.parametrize("language", sorted(READINGS))
def test_the_trace_changes_no_reading(language):
    for text in READINGS[language]:
        traced = normalize(Traced(text), language)
        assert isinstance(traced, Traced)
        assert str(traced) == normalize(text, language)
        assert list(traced.starts) == sorted(traced.starts)
        assert list(traced.ends) == sorted(traced.ends)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from("a bb 12 the 1999 km ,".split()), min_size=1, max_size=6),
    st.lists(st.sampled_from("a bb twelve the nineteen".split()), max_size=8),
)
def test_shares_cover_both_texts(old, new):
    old, new = " ".join(old), " ".join(new)
    parts = list(shares(old, new))
    assert sum(length for _, _, length in parts) == len(new)
    starts, ends = [a for a, _, _ in parts], [b for _, b, _ in parts]
    assert starts == sorted(starts) and ends == sorted(ends)
    if parts:
        assert starts[0] == 0 and ends[-1] == len(old)


def test_a_rewritten_text_keeps_its_trace():
    text = Traced("one  two")
    assert sub(re.compile(r"\s+"), " ", text).span(4, 7) == (5, 8)  # pyright: ignore
    assert (text[5:].upper() + "!").span(0, 4) == (5, 8)  # pyright: ignore
    assert ("<" + text).span(1, 4) == (0, 3)  # pyright: ignore
    assert type(str(text)) is str and str(text.replace("one", "eleven")) == "eleven  two"
    assert text.replace("one", "eleven").span(0, 6) == (0, 3)


def test_a_tokenizer_that_reads_its_own_text_otherwise(tiny):
    """Characters in a chunk that the decoded text does not have: the words behind stay right."""
    text = Traced("one two three four")
    finder = WordFinder(text, text, tiny[1])
    assert str(finder.trace("one ?? two")) == "one ?? two"
    rest = finder.trace("three four")
    assert rest.span(0, 5) == (8, 13) and rest.span(6, 10) == (14, 18)


def test_bytes_of_a_character_stand_for_it(tiny):
    text = "a ☃ b"
    spans = spans_of(text, tiny[1])
    assert spans.count((2, 3)) >= 3 and spans[-1] == (4, 5)
    assert "".join(tiny[1].pieces(text)).split() == tiny[1].decode(tiny[1].encode(text)).split()


def test_the_embedded_vocabulary_says_what_stands_for_what():
    tokenizer = load_tokenizer("sentencepiece", EMBEDDED / "tokenizer.model", 80)
    spans = spans_of("Hello 12", tokenizer)
    assert spans[0] == (0, 5) and set(spans[1:5]) == {(0, 5)} and (6, 7) in spans
