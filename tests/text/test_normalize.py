import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocket_tts_jax.errors import TextError
from pocket_tts_jax.text.numbers.normalize import language_code, normalize
from pocket_tts_jax.text.numbers.words import cardinal, ordinal, year
from pocket_tts_jax.text.prepare import TextRules, prepare_text
from tests.folders import GOLDEN

READINGS = json.loads((GOLDEN / "normalize.json").read_text(encoding="utf-8"))
LANGUAGES = sorted(READINGS)
CASES = [(language, text) for language in LANGUAGES for text in READINGS[language]]

PIECES = st.one_of(
    st.sampled_from([text for _, text in CASES]),
    st.sampled_from(
        [*"$€£%°#@&+-/:.,;'\"()[]*_^~<>=²½٣日é😀 \n", " ", "St.", "Dr. ", "5 p.m.", "No."]
    ),
    st.from_regex(r"[0-9.,:/ -]{1,9}", fullmatch=True),
    st.text(max_size=5),
)
TEXTS = st.lists(PIECES, min_size=1, max_size=8).map("".join)


@pytest.mark.parametrize("language", LANGUAGES)
def test_golden_readings(language: str) -> None:
    readings = {text: normalize(text, language) for text in READINGS[language]}
    assert readings == READINGS[language]


def test_there_are_enough_golden_cases() -> None:
    assert len(CASES) >= 300
    assert len(READINGS["english"]) >= 200
    assert all(len(READINGS[language]) >= 15 for language in LANGUAGES)


@given(TEXTS, st.sampled_from(LANGUAGES))
@settings(max_examples=100)
def test_no_digit_is_left(text: str, language: str) -> None:
    spoken = normalize(text, language)
    assert not any(map(str.isdecimal, spoken)), spoken


@given(TEXTS)
@settings(max_examples=100)
def test_ascii_only(text: str) -> None:
    spoken = normalize(text, ascii_only=True)
    assert re.fullmatch(r"[A-Za-z .,;:!?'-]*", spoken)
    assert "  " not in spoken and spoken == spoken.strip()


@given(st.text(alphabet="abcdefghij klmnop,;!?'-\n", max_size=60), st.sampled_from(LANGUAGES))
def test_plain_words_are_untouched(text: str, language: str) -> None:
    assert normalize(text, language) == text


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Café — “naïve” (an aside) … done!", "Cafe, naive, an aside... done!"),
        ("Hello (there).", "Hello, there."),
        ("日本 is “Japan” 😀", "is Japan"),
        ("Łódź, Ærø, Straße; él niño?", "Lodz, Aero, Strasse; el nino?"),
        ("x² – y³", "x squared, y cubed"),
        ("50% of ½ for €5", "fifty percent of one half for five euros"),
        ("Mr. O’Neil’s well-known dog", "Mister O'Neil's well-known dog"),
        ("Line one\nline two", "Line one line two"),
        ("(Aside.) Then", "Aside. Then"),
    ],
)
def test_ascii_readings(text: str, spoken: str) -> None:
    assert normalize(text, ascii_only=True) == spoken


def test_nothing_left_of_emoji_is_an_error_when_prepared() -> None:
    assert normalize("😀", ascii_only=True) == ""
    with pytest.raises(TextError):
        prepare_text(normalize("😀", ascii_only=True), TextRules())


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("english", "en"),
        ("en", "en"),
        ("EN-gb", "en"),
        ("english_2026-10", "en"),
        ("french_24l", "fr"),
        ("de_DE", "de"),
        ("pt-BR", "pt"),
        ("Dutch", "nl"),
    ],
)
def test_language_names(name: str, code: str) -> None:
    assert language_code(name) == code


@pytest.mark.parametrize("name", ["klingon", "", "e", "jp"])
def test_unknown_language(name: str) -> None:
    with pytest.raises(TextError, match="Use one of english, french, german, italian"):
        normalize("5", name)


def test_ascii_needs_english() -> None:
    with pytest.raises(TextError, match="accents"):
        normalize("5", "french", ascii_only=True)


@pytest.mark.parametrize(
    ("language", "words", "first"),
    [
        ("en", "twenty-one", "twenty-first"),
        ("fr", "vingt et un", "vingt et unième"),
        ("de", "einundzwanzig", "einundzwanzigste"),
        ("it", "ventuno", "ventunesimo"),
        ("pt", "vinte e um", "vigésimo primeiro"),
        ("es", "veintiuno", "vigésimo primero"),
        ("nl", "eenentwintig", "eenentwintigste"),
    ],
)
def test_number_words(language: str, words: str, first: str) -> None:
    assert cardinal("21", language) == words
    assert ordinal(21, language) == first
    assert cardinal("٢١", language) == words
    assert "," not in year(1984, language)


def test_codes_are_read_digit_by_digit() -> None:
    assert cardinal("0042", "en") == "zero zero four two"
    assert cardinal("1" * 16, "en") == " ".join(["one"] * 16)
    assert cardinal("1" + "0" * 14, "en") == "one hundred trillion"
    assert normalize("9" * 5000 + "th").startswith("nine nine nine")
