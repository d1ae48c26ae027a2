"""Numbers, money, dates, units and abbreviations as they are read aloud. Opt-in, off by default.

Forms such as `$19.99` are rare in the models' training texts, so models misread them. English has
the full rules; the other languages of the published models have numbers, money, percentages, times,
dates, common units and titles.
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
    """Write numbers, signs and abbreviations as words; other text is unchanged.

    `ascii_only` (English) also drops every character but the letters A to z, spaces and
    `. , ; : ! ? ' -`, for models whose vocabulary has only these. Portuguese is Brazilian. Raises
    TextError for a language without rules.
    """
    code = language_code(language)
    if code != "en":
        if ascii_only:
            raise TextError("ascii_only is for English: other languages need their accents.")
        return read_european(text, LANGUAGES[code])
    text = read_symbols(read_numbers(expand_abbreviations(read_links(text))))
    return to_ascii(text) if ascii_only else text
