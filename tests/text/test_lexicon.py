import json
from pathlib import Path

import pytest

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.text.lexicon import Lexicon, load_lexicon

ENTRIES = {
    "WCAG": "W C A G",
    "C++": "C plus plus",
    "C": "see",
    "C#": "C sharp",
    "nginx": "engine x",
    "New York": "Nooyork",
    "New York City": "N Y C",
    "WHO": "the W H O",
    "§": "section",
    ".NET": "dot net",
    "élan": "ay lahn",
    "um": "",
    "Nice": "Neese",
    "nice": "very nice",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WCAG matters.", "W C A G matters."),
        ("WCAG's (WCAG) WCAG-based", "W C A G's (W C A G) W C A G-based"),
        ("xWCAG WCAGs WCAG2 WCAG_a", "xWCAG WCAGs WCAG2 WCAG_a"),
        ("wcag is not found", "wcag is not found"),
        ("C++, C# and C.", "C plus plus, C sharp and see."),
        ("C++17 is one word", "C++17 is one word"),
        ("C+ and (C)", "C+ and (see)"),
        ("nginx Nginx NGINX", "engine x engine x engine x"),
        ("New York, New York City, new york", "Nooyork, N Y C, new york"),
        ("New\n  York", "Nooyork"),
        ("WHO knows who knows", "the W H O knows who knows"),
        ("see § 5", "see section 5"),
        (".NET and ASP.NET", "dot net and ASP.NET"),
        ("ÉLAN élan élancé", "ay lahn ay lahn élancé"),
        ("well um yes", "well  yes"),
        ("Nice nice NICE", "Neese very nice very nice"),
        ("nothing here", "nothing here"),
        ("", ""),
    ],
)
def test_terms(text: str, expected: str) -> None:
    assert Lexicon(ENTRIES).apply(text) == expected


def test_readings_are_not_searched_again() -> None:
    assert Lexicon({"a": "b", "b": "a"}).apply("a b") == "b a"


def test_empty_lexicon() -> None:
    assert Lexicon({}).apply("C++ stays") == "C++ stays"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.json", json.dumps({"WCAG": "W C A G", "C++": "C plus plus"})),
        ("l.tsv", "# term\treading\nWCAG\tW C A G\n\nC++\tC plus plus\n"),
        ("l.tsv", "\ufeffWCAG\tW C A G\r\nC++\tC plus plus\r\n"),
    ],
)
def test_files(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    assert load_lexicon(path).apply("WCAG in C++") == "W C A G in C plus plus"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.txt", "", r"l\.txt: a lexicon is .*\.json, \.tsv"),
        ("l.tsv", "a" * 300_000 + "\tb", "300000 letters, more than 200"),
        ("l.json", "[" * 200_000, "nested too deeply"),
        ("l.json", '{"a": ' + "9" * 5000 + "}", "cannot be read"),
        ("l.json", "{", "cannot be read"),
        ("l.json", '{"a": "b", "a": "c"}', "twice"),
        ("l.json", '["a"]', "expected a table"),
        ("l.json", '{"a": 1}', "'a': 1 must map text to text"),
        ("l.tsv", "a b", "line 1 has 1 columns"),
        ("l.tsv", "a\tb\na\tc", "line 2 repeats the term 'a'"),
        ("l.tsv", " \tb", "term is empty"),
        ("l.json", '{"a  b": "x", "a b": "y"}', "'a b' is there twice"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_lexicon(tmp_path / name)


def test_missing_and_undecodable_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no lexicon file at"):
        load_lexicon(tmp_path / "none.json")
    (tmp_path / "l.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_lexicon(tmp_path / "l.tsv")
