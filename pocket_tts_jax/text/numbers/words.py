"""Numbers in words, in the languages of the published models."""

from functools import lru_cache

# Longer numbers are codes rather than quantities, and are read digit by digit.
_LONGEST = 15

_LOCALES = {
    "en": "en",
    "fr": "fr",
    "de": "de",
    "it": "it",
    "pt": "pt_BR",
    "es": "es",
    "nl": "nl",
}

_SMALL_YEARS = range(1000, 2100)


def cardinal(digits: str, language: str) -> str:
    """ASCII or other decimal `digits` as a number: 21 is "twenty-one", 007 "zero zero seven"."""
    if len(digits) > _LONGEST or (len(digits) > 1 and int(digits[0]) == 0):
        return spell_digits(digits, language)
    return _in_words(int(digits), "cardinal", language)


def ordinal(number: int, language: str) -> str:
    """21 is "twenty-first"; masculine where the language has genders."""
    return _in_words(number, "ordinal", language)


def spell_digits(digits: str, language: str) -> str:
    """Each digit as a number: 192 is "one nine two"."""
    return " ".join(cardinal(digit, language) for digit in digits)


def year(number: int, language: str) -> str:
    """1984 is "nineteen eighty-four" where the language reads years in pairs."""
    if language in ("de", "nl"):
        return _in_words(number, "year", language).replace(" ", "")
    if language != "en" or number not in _SMALL_YEARS or number // 10 in (100, 200):
        return cardinal(str(number), language)
    century, rest = divmod(number, 100)
    first = cardinal(str(century), "en")
    if rest == 0:
        return f"{first} hundred"
    return f"{first} {'oh ' if rest < 10 else ''}{cardinal(str(rest), 'en')}"


@lru_cache(maxsize=4096)
def _in_words(number: int, form: str, language: str) -> str:
    import num2words  # imported late: it is slow, and only texts with numbers need it

    words = num2words.num2words(number, lang=_LOCALES[language], to=form).replace(",", "")
    return words.replace(" and ", " ") if language == "en" else words
