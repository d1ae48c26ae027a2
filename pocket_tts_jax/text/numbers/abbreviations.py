"""English readings of abbreviations, web addresses and symbols between words."""

import functools
import logging
import re
import unicodedata

from pocket_tts_jax.text.numbers.english_tables import (
    ABBREVIATIONS,
    ENDINGS,
    STARTERS,
    SYMBOLS,
    TITLES,
    ends_sentence,
)
from pocket_tts_jax.text.traced import map_characters, sub
from pocket_tts_jax.text.typography import fold_typography

_log = logging.getLogger(__name__)

_IN_LINKS = {
    ".": "dot",
    "/": "slash",
    "-": "dash",
    "_": "underscore",
    "@": "at",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    ":": "colon",
    "~": "tilde",
    "+": "plus",
    "%": "percent",
}
_DOMAIN = (
    r"[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|info|io|ai|dev|app|co|uk|us|eu|de|fr|it|es|nl|br)"
)
_LINK = re.compile(
    rf"(?<![\w.+-])(?:https?://)?(?:[\w.+-]+@{_DOMAIN}|www\.[\w.-]+\w|(?<=://)[\w.-]+\w|{_DOMAIN})\b"
    r"(?::\d+)?(?:/[\w./~%+&=?#@:-]*[\w/])?(?:[?#][\w./~%+&=#-]*\w)?"
)


def _one_of(table: dict[str, str]) -> str:
    return "|".join(re.escape(sign) for sign in sorted(table, key=len, reverse=True))


_TITLE = re.compile(rf"(?<!\w)({_one_of(TITLES)})(?=\s+[A-Z])")
_ENDING = re.compile(rf"(?<![\w.])({_one_of(ENDINGS)})")
_ABBREVIATION = re.compile(rf"(?<![\w.])({_one_of(ABBREVIATIONS)})")
_LETTERS = re.compile(r"(?<![\w.])(?!(?:[AP]\.M|B\.C|A\.D)\.)(?:[A-Z]\.){2,}")
_INITIAL = re.compile(r"(?<![\w.'’])([A-Z])\.(?=\s+[A-Z])")
_WORD_BEFORE = re.compile(r"(\S+)\s+$")

# Words that no street is called by: "St." is "Street" after "Main", and "Saint" after "on".
_NO_STREET = STARTERS | set("To Near Saint Through Via Of".split())


def read_links(text: str) -> str:
    """Web and mail addresses as they are dictated: "example dot com slash page"."""
    return sub(_LINK, _link, text)


def _link(match: re.Match[str]) -> str:
    address = re.sub(r"^https?://", "", match[0])
    address = re.sub(r"^www\.", "w w w.", address).rstrip("/")
    return re.sub(r"[./\-_@?=&#:~+%]+", lambda m: _link_marks(m[0]), address)


def _link_marks(marks: str) -> str:
    return f" {' '.join(_IN_LINKS[mark] for mark in marks)} "


def expand_abbreviations(text: str) -> str:
    """Write out titles, streets, initials and Latin; keep a period that ends a sentence."""
    text = sub(_TITLE, _title, text)
    text = sub(_ENDING, lambda m: ENDINGS[m[1]] + _stop(m), text)
    text = sub(_ABBREVIATION, lambda m: ABBREVIATIONS[m[1]], text)
    text = sub(_LETTERS, lambda m: " ".join(m[0].replace(".", "")) + _stop(m), text)
    return sub(_INITIAL, _initial, text)


def _stop(match: re.Match[str]) -> str:
    return "." if ends_sentence(match.string, match.end()) else ""


def _word_before(match: re.Match[str]) -> str:
    before = _WORD_BEFORE.search(match.string, max(0, match.start() - 60), match.start())
    return before[1] if before else ""


def _title(match: re.Match[str]) -> str:
    before = _word_before(match)
    after_name = before[:1].isupper() and before.isalpha() and before not in _NO_STREET
    if match[1] in ENDINGS and (after_name or re.search(r"\d(?:st|nd|rd|th)$", before)):
        return ENDINGS[match[1]] + _stop(match)
    return TITLES[match[1]]


def _initial(match: re.Match[str]) -> str:
    """Drop the period of an initial in a name; keep it at the end of a sentence."""
    before = _word_before(match)
    rest = match.string[match.end() : match.end() + 30]
    following = rest.split()[0].strip(".,;:!?")
    within_name = not before or before[0].isupper() or re.match(r"\s+[A-Z]\.", rest)
    return match[1] if within_name and following not in STARTERS else match[0]


_SIGNS = [
    (re.compile(r"(?<=\w)\s?/\s?(?=(?:hour|day|week|month|year|person|night)\b)"), " per "),
    (re.compile(r"\b([Aa]nd|[Ee]ither)/or\b"), r"\1 or"),
    (re.compile(r"(?<!\w)#(?=[^\W\d])"), "hashtag "),
    (re.compile(r"(?<=\b[A-G])#(?!\w)"), " sharp"),
    (re.compile(r"\*+|(?<!\w)_+|_+(?!\w)|^#+\s|`", re.MULTILINE), ""),
    (re.compile(r"(?<=\w)_(?=\w)"), " "),
]


def read_symbols(text: str) -> str:
    """Read signs between or before words: & is "and", @name "at name"."""
    for pattern, reading in _SIGNS:
        text = sub(pattern, reading, text)
    signs = re.compile(rf"\s?({_one_of(SYMBOLS)})(\s?)")
    return sub(signs, _symbol, text)


def _symbol(match: re.Match[str]) -> str:
    before = "" if match.start() == 0 or match.string[match.start() - 1] in "\n([\"'" else " "
    rest = match.string[match.end() : match.end() + 1]
    after = "" if rest in (*".,;:!?)]\"'\n", "") else " "
    return before + SYMBOLS[match[1]] + after


_LATIN = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l"}
    | {"Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i"}
)


_OTHER_SCRIPTS = re.compile(r"[^\W\d_A-Za-z]+")
_NAMED = 5
_PLAIN = [
    (re.compile(r"[()\[\]{}|•·]|\s-+\s|--+"), ","),
    (re.compile(r"[^A-Za-z\s.,;:!?'-]"), " "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\s+(?=[.,;:!?])"), ""),
    (re.compile(r"(?:(?<=[.;:!?])|^),+|,+(?=[.;:!?])|,+(?=,)|,\s*$"), ""),
    (re.compile(r",(?=\w)"), ", "),
]


def to_ascii(text: str) -> str:
    """Keep only the letters A to z, single spaces and `. , ; : ! ? ' -`.

    Accents are dropped, brackets and dashes become commas, emoji are dropped, and with a warning
    other scripts are.
    """
    text = map_characters(fold_typography(text).translate(_LATIN), _without_accents)
    if others := _OTHER_SCRIPTS.findall(text):
        _warn_of_other_scripts(", ".join(others[:_NAMED]) + (", ..." if others[_NAMED:] else ""))
    for pattern, plain in _PLAIN:
        text = sub(pattern, plain, text)
    return text.strip(" ,-")


@functools.lru_cache(maxsize=100)  # once: a text in pieces is read again with each piece
def _warn_of_other_scripts(words: str) -> None:
    _log.warning("Left out, because this model reads English letters only: %s", words)


def _without_accents(character: str) -> str:
    parts = unicodedata.normalize("NFKD", character)
    return "".join(part for part in parts if not unicodedata.combining(part))
