"""A user's own readings of names, acronyms and jargon, written in ordinary letters.

    {"WCAG": "W C A G", "C++": "C plus plus", "nginx": "engine x"}

Only whole words match: no letter, digit or underscore may touch a term, and no `+` or `#` may
follow its last letter ("C" does not match in "C++"). If several terms match at one place, the
longest wins. A term with a capital letter is case-sensitive; a term without one is not ("nginx"
matches "NGINX", but "WHO" does not match "who"). A space in a term matches any white space.
Readings are not searched for further terms.
"""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pocket_tts_jax.errors import ConfigError, ConfigNotFound
from pocket_tts_jax.files.read import LARGEST_JSON, parse_json, read_text
from pocket_tts_jax.text.traced import replace_spans

_LONGEST = 200  # letters of a term
_BEGINNING = 3  # letters of a term by which it is found


class Lexicon:
    """Replaces terms in texts; see the module for the rules. Raises ConfigError for wrong entries.

    A reading may be empty, which leaves the term out.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._exactly: dict[str, str] = {}
        self._in_any_case: dict[str, str] = {}
        lengths: dict[str, set[int]] = {}
        for term, reading in entries.items():
            if not isinstance(term, str) or not isinstance(reading, str):
                raise ConfigError(
                    f"Lexicon entry {_short(term)}: {_short(reading)} must map text to text."
                )
            key = " ".join(term.split())
            if not key:
                raise ConfigError("A lexicon term is empty. Remove it, or name what it replaces.")
            if len(key) > _LONGEST:
                raise ConfigError(f"A lexicon term has {len(key)} letters, more than {_LONGEST}.")
            readings = self._in_any_case if key == _lower(key) else self._exactly
            if key in readings:
                raise ConfigError(f"Lexicon term {_short(key)} is there twice. Keep one of them.")
            readings[key] = reading
            lengths.setdefault(_lower(key[:_BEGINNING]), set()).add(len(key))
        # By their first letters, so that few lengths are tried at each place of a text.
        self._lengths = {begin: sorted(found, reverse=True) for begin, found in lengths.items()}

    def apply(self, text: str) -> str:
        """`text` with every term replaced by its reading."""
        plain, places = _with_single_spaces(str(text))
        lowered = _lower(plain)
        found, start = [], 0
        while start < len(plain):
            term = None
            if start == 0 or not _in_word(plain[start - 1]):
                term = self._at(plain, lowered, start)
            if term is None:
                start += 1
                continue
            end, reading = term
            found.append((places[start], places[end], reading))
            start = end
        return replace_spans(text, found)

    def _at(self, text: str, lowered: str, start: int) -> tuple[int, str] | None:
        """The end and the reading of the longest term that begins at `start`."""
        for size in range(min(_BEGINNING, len(text) - start), 0, -1):
            for length in self._lengths.get(lowered[start : start + size], ()):
                end = start + length
                if end > len(text) or (size < _BEGINNING and length != size):
                    continue
                reading = self._exactly.get(text[start:end])
                if reading is None:
                    reading = self._in_any_case.get(lowered[start:end])
                if reading is not None and _ends_word(text, end):
                    return end, reading
        return None


def load_lexicon(path: str | Path) -> Lexicon:
    """Read a lexicon from a .json or .tsv file (term, tab, reading).

    Raises ConfigError for a file that is missing, damaged or of another kind.
    """
    path = Path(path)
    readers = {".json": _read_json, ".tsv": _read_tsv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path}: a lexicon is a file of one of these kinds: .json, .tsv.")
    try:
        entries = reader(read_text(path, LARGEST_JSON, "utf-8-sig"))
    except FileNotFoundError:
        raise ConfigNotFound(f"There is no lexicon file at {path}.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"The lexicon {path} cannot be read: {error}") from error
    if not isinstance(entries, Mapping):
        raise ConfigError(f"{path}: expected a table of terms and readings, got {_short(entries)}.")
    try:
        return Lexicon(entries)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _with_single_spaces(text: str) -> tuple[str, list[int]]:
    """`text` with one space for each run of white space, and where each of its characters (and
    its end) was."""
    characters, places = [], []
    for place, character in enumerate(str(text)):
        space = character.isspace()
        if space and characters and characters[-1] == " ":
            continue
        characters.append(" " if space else character)
        places.append(place)
    return "".join(characters), [*places, len(text)]


def _lower(text: str) -> str:
    """`text` in lower case, letter by letter, so that places stay the same."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _ends_word(text: str, end: int) -> bool:
    if end == len(text):
        return True
    behind = text[end]
    return not (_in_word(behind) or (behind in "+#" and _in_word(text[end - 1])))


def _short(value: object) -> str:
    return reprlib.repr(value)


def _read_json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            raise ValueError("a term is there twice")
        return entries

    return parse_json(text, object_pairs_hook=unique)


def _read_tsv(text: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        row = line.split("\t")
        if len(row) != 2:
            raise ValueError(f"line {number} has {len(row)} columns, expected term, tab, reading")
        if row[0] in entries:
            raise ValueError(f"line {number} repeats the term {_short(row[0])}")
        entries[row[0]] = row[1]
    return entries
