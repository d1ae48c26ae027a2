"""A user's own readings of names, acronyms and jargon, written in ordinary letters.

    {"WCAG": "W C A G", "C++": "C plus plus", "nginx": "engine x"}

Only whole words match: no letter, digit or underscore may touch a term, and no `+` or `#` may
follow its last letter ("C" does not match in "C++"). If several terms match at one place, the
longest wins. A term with a capital letter is case-sensitive; a term without one is not ("nginx"
matches "NGINX", but "WHO" does not match "who"). A space in a term matches any white space.
Readings are not searched for further terms.
"""

import csv
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.text.traced import sub


class Lexicon:
    """Replaces terms in texts; see the module for the rules. Raises ConfigError for wrong entries.

    A reading may be empty, which leaves the term out.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        readings: dict[str, str] = {}
        for term, reading in entries.items():
            if not isinstance(term, str) or not isinstance(reading, str):
                raise ConfigError(f"Lexicon entry {term!r}: {reading!r} must map text to text.")
            key = " ".join(term.split())
            if not key:
                raise ConfigError("A lexicon term is empty. Remove it, or name what it replaces.")
            if key in readings:
                raise ConfigError(f"Lexicon term {key!r} is there twice. Keep one of them.")
            readings[key] = reading
        self._readings = readings
        self._pattern = re.compile(_alternatives(readings)) if readings else None

    def apply(self, text: str) -> str:
        """`text` with every term replaced by its reading."""
        return sub(self._pattern, self._reading, text) if self._pattern else text

    def _reading(self, match: re.Match[str]) -> str:
        term = " ".join(match[0].split())
        return self._readings[term] if term in self._readings else self._readings[term.lower()]


def load_lexicon(path: str | Path) -> Lexicon:
    """Read a lexicon from a .toml, .json, .yaml, .yml or .tsv file (term, tab, reading).

    Raises ConfigError for a file that is missing, damaged or of another kind.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise ConfigError(f"{path}: a lexicon is a file of one of these kinds: {known}.")
    try:
        entries = reader(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"There is no lexicon file at {path}.") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"The lexicon {path} cannot be read: {error}") from error
    if not isinstance(entries, Mapping):
        raise ConfigError(f"{path}: expected a table of terms and readings, got {entries!r:.40}.")
    try:
        return Lexicon(entries)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _alternatives(terms: Mapping[str, str]) -> str:
    """One pattern for all terms: longest first, and case-sensitive terms before others."""
    ordered = sorted(terms, key=lambda term: (-len(term), term == term.lower()))
    words = []
    for term in ordered:
        word = r"\s+".join(map(re.escape, term.split()))
        words.append(f"(?i:{word})" if term == term.lower() else word)
    return rf"(?<!\w)(?:{'|'.join(words)})(?!\w|(?<=\w)[+#])"


def _read_json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            raise ValueError("a term is there twice")
        return entries

    return json.loads(text, object_pairs_hook=unique)


def _read_tsv(text: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    lines = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    for number, row in enumerate(lines, 1):
        if not row or row[0].startswith("#"):
            continue
        if len(row) != 2:
            raise ValueError(f"line {number} has {len(row)} columns, expected term, tab, reading")
        if row[0] in entries:
            raise ValueError(f"line {number} repeats the term {row[0]!r}")
        entries[row[0]] = row[1]
    return entries


_READERS: dict[str, Callable[[str], Any]] = {
    ".toml": tomllib.loads,
    ".json": _read_json,
    ".yaml": yaml.safe_load,
    ".yml": yaml.safe_load,
    ".tsv": _read_tsv,
}
