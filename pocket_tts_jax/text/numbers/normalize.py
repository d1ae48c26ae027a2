"""Numbers, money, dates, units and abbreviations as they are read aloud. Opt-in, off by default.

The models speak what is written, and nobody wrote "nineteen dollars and ninety-nine cents" in
their training texts as `$19.99` often enough. English has the full rules; the other languages of
the published models have numbers, money, percentages, times, dates, common units and titles.
"""

import re

from pocket_tts_jax.errors import TextError
from pocket_tts_jax.text.numbers.abbreviations import (
    expand_abbreviations,
    read_links,
    read_symbols,
    to_ascii,
)
from pocket_tts_jax.text.numbers.english import read_numbers
from pocket_tts_jax.text.numbers.european import read_european
from pocket_tts_jax.text.numbers.european_tables import LANGUAGES

CODES = {
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "portuguese": "pt",
    "spanish": "es",
    "dutch": "nl",
}


def language_code(language: str) -> str:
    """Two letters for a language, such as "french", "fr", "fr-CA", or a model "french_24l".

    Raises TextError for a language that has no rules here.
    """
    name = re.split(r"[-_ ]", language.strip().lower())[0]
    code = CODES.get(name, name)
    if code not in CODES.values():
        raise TextError(
            f"Text cannot be normalized in {language!r}. Use one of {', '.join(CODES)}, or write "
            "numbers in words and switch normalization off."
        )
    return code


def normalize(text: str, language: str = "english", *, ascii_only: bool = False) -> str:
    """Write out what is not written as it is spoken. What has nothing to expand is unchanged.

    `ascii_only` (English) also leaves out whatever is neither one of the letters A to z, a space,
    nor one of `. , ; : ! ? ' -`: for models whose vocabulary has nothing else. Portuguese is that
    of Brazil. Raises TextError for a language without rules.
    """
    code = language_code(language)
    if code != "en":
        if ascii_only:
            raise TextError("ascii_only is for English: other languages need their accents.")
        return read_european(text, LANGUAGES[code])
    text = read_symbols(read_numbers(expand_abbreviations(read_links(text))))
    return to_ascii(text) if ascii_only else text
