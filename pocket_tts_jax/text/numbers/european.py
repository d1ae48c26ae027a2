"""Readings of numbers, money, times and dates in the languages that write 1.984,50.

The point or a space separates thousands and the comma decimals; a point before one, two or more
than three digits is taken for a decimal one (3.14), as many people write it.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from pocket_tts_jax.text.numbers.european_tables import LANGUAGES, Language
from pocket_tts_jax.text.numbers.words import cardinal, ordinal, spell_digits, year
from pocket_tts_jax.text.traced import sub

Rule = tuple[re.Pattern[str], Callable[[re.Match[str], Language], str]]

_GROUPED = r"\d{1,3}(?:[.\u00a0\u202f ]\d{3})+(?!\d)(?:,\d+)?"
_ENGLISH = r"\d{1,3}(?:,\d{3})+\.\d+"  # 1,984.50 is unambiguous
_AMOUNT = rf"(?:{_GROUPED}|{_ENGLISH}|\d+(?:[,.]\d+)?)"
_SPAN = (
    rf"(?P<sign>(?<![\w)])[-−])?(?<![\w.,])(?P<low>{_AMOUNT})"
    rf"(?:(?:-|\s?–\s?)(?P<high>{_AMOUNT}))?"
)
_FEMININE = ("livre", "sterlin", "libra")
_PLAIN_SCALES = ("mil", "mila", "mille")  # no "of" between these and a currency
# Endings of German ordinals after these words; elsewhere the ordinal stands alone ("dritter Mai").
_GERMAN_ENDINGS: dict[str, str] = {
    **dict.fromkeys(["der", "die", "das"], ""),
    **dict.fromkeys(["am", "dem", "den", "des", "im", "ab", "vom", "zum", "zur", "beim"], "n"),
}
_ORDINALS = {
    "fr": r"(?<![\w.,])(?P<number>\d{1,9})(?P<ending>ers?|ères?|res?|èmes?|ièmes?|es?|nde?)\b",
    "it": r"(?<![\w.,])(?P<number>\d{1,9})\.?(?P<ending>[ºª])",
    "pt": r"(?<![\w.,])(?P<number>\d{1,9})\.?(?P<ending>[ºª])",
    "es": r"(?<![\w.,])(?P<number>\d{1,9})\.?(?P<ending>[ºª])",
    "nl": r"(?<![\w.,])(?P<number>\d{1,9})(?P<ending>ste|de|e)\b",
    "de": r"(?P<article>\b(?i:" + "|".join(_GERMAN_ENDINGS) + r")\s)(?P<number>\d{1,2})\.(?=\s\w)",
}


def read_european(text: str, language: Language) -> str:
    """`text` with numbers, units, currencies, common abbreviations and signs in words."""
    for pattern, speak in _rules(language.code):
        text = sub(pattern, lambda match, speak=speak: speak(match, language), text)
    return text


def number(digits: str, language: Language) -> str:
    """1.984,50 in words."""
    whole, rest = _parts(digits)
    words = cardinal(whole, language.code)
    return f"{words} {language.point} {_decimals(rest, language)}" if rest else words


def _decimals(digits: str, language: Language) -> str:
    """French, Italian, Portuguese and Spanish read two decimals as a number, others in digits."""
    if language.code in ("de", "nl") or len(digits) > 2 or digits.startswith("0"):
        return spell_digits(digits, language.code)
    return cardinal(digits, language.code)


def _parts(digits: str) -> tuple[str, str]:
    """The whole and the decimals of an amount, without separators."""
    point = "." if re.fullmatch(_ENGLISH, digits) else ","
    if point == "," and not re.fullmatch(_GROUPED, digits):
        digits = digits.replace(".", ",")  # 3.14
    whole, _, rest = digits.partition(point)
    return re.sub(r"\D", "", whole), rest


def _agree(words: str, endings: Mapping[str, str]) -> str:
    """The form of a number before a noun: "eins" becomes "ein" in "ein Euro"."""
    for ending, replaced in endings.items():
        words, changed = re.subn(rf"\b{ending}$", replaced, words)
        if changed:
            break
    return words


def _before(noun: str, digits: str, language: Language) -> str:
    """A number and the noun that it counts; `noun` is a table entry with its forms."""
    one, many = noun.split()[:2]
    name = (one if digits == "1" else many).replace("_", " ")
    endings = language.feminine if one.startswith(_FEMININE) else language.ones
    return f"{_agree(number(digits, language), endings)} {name}"


def _sign(match: re.Match[str], language: Language) -> str:
    return f"{language.minus} " if match["sign"] else ""


def _span(match: re.Match[str], language: Language) -> str:
    words = _sign(match, language) + number(match["low"], language)
    return f"{words} {language.to} {number(match['high'], language)}" if match["high"] else words


def _counted(match: re.Match[str], language: Language, noun: str) -> str:
    """The span of `match` and what it counts."""
    if not match["high"]:
        return _sign(match, language) + _before(noun, match["low"], language)
    low = _sign(match, language) + number(match["low"], language)
    return f"{low} {language.to} {_before(noun, match['high'], language)}"


def _money(match: re.Match[str], language: Language) -> str:
    noun = language.currencies[match["currency"]]
    forms = noun.split()
    if match["scale"]:
        name = forms[1].replace("_", " ")
        of = "" if match["scale"] in _PLAIN_SCALES or not language.of else f"{language.of} "
        if language.code == "fr" and of and name[0] in "aeiouy":
            of = "d'"
        return f"{_span(match, language)} {match['scale']} {of}{name}"
    whole, cents = _parts(match["low"])
    if match["high"] or len(cents) != 2 or len(forms) < 4:
        return _counted(match, language, noun)
    euros = "" if whole == "0" and cents != "00" else _before(noun, whole, language)
    if cents == "00":
        return _sign(match, language) + euros
    if euros and not language.cents:
        return f"{_sign(match, language)}{euros} {cardinal(cents.lstrip('0'), language.code)}"
    small = _before(" ".join(forms[2:]), cents.lstrip("0"), language)
    return _sign(match, language) + (f"{euros} {language.cents} {small}" if euros else small)


def _measure(match: re.Match[str], language: Language) -> str:
    noun = language.units[match["unit"]]
    if match["unit"] == "%" and language.code != "de":  # not a counted noun: "uno per cento"
        return f"{_span(match, language)} {noun.split()[1].replace('_', ' ')}"
    return _counted(match, language, noun)


def _clock(match: re.Match[str], language: Language) -> str:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    endings = language.ones if language.code == "de" else language.feminine
    template = language.half_hour if minute else language.hour
    if hour == 1:
        template = template.replace("heures", "heure").replace("horas", "hora")
    words = _agree(cardinal(str(hour), language.code), endings)
    return template.format(hour=words, minute=cardinal(str(minute), language.code))


def _first_of_month(language: Language) -> str:
    return {"fr": "premier", "it": "primo", "pt": "primeiro", "es": "primero"}.get(
        language.code, cardinal("1", language.code)
    )


def _date(match: re.Match[str], language: Language) -> str:
    day, month = int(match["day"]), int(match["month"])
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return match[0]
    if language.code == "de":
        words = f"{ordinal(day, 'de')}r"
    else:
        words = _first_of_month(language) if day == 1 else cardinal(str(day), language.code)
    return language.day.format(
        day=words,
        month=language.months.split()[month - 1],
        year=year(int(match["year"]), language.code),
    )


def _german_day(match: re.Match[str], language: Language) -> str:
    return f"{ordinal(int(match['number']), language.code)}r"


def _ordinal(match: re.Match[str], language: Language) -> str:
    words = ordinal(int(match["number"]), language.code)
    if language.code == "de":
        article = match["article"]
        return article + words + _GERMAN_ENDINGS[article.strip().lower()]
    if match["ending"] == "ª":
        return re.sub(r"o\b", "a", words)
    if match["ending"] in ("re", "res", "ère", "ères") and words == "premier":
        return "première"
    return words


def _abbreviation(match: re.Match[str], language: Language) -> str:
    stop = "." if match[0].endswith(".") and not match.string[match.end() :].strip() else ""
    return language.abbreviations[match[0]] + stop


def _fraction(match: re.Match[str], language: Language) -> str:
    return language.fractions.get(match[0], match[0])


def _year(match: re.Match[str], language: Language) -> str:
    return year(int(match[0]), language.code)


def _symbol(match: re.Match[str], language: Language) -> str:
    return f" {language.symbols[match[1]]} "


def _plain(match: re.Match[str], language: Language) -> str:
    return cardinal(match[0], language.code)


@lru_cache
def _rules(code: str) -> tuple[Rule, ...]:
    language = LANGUAGES[code]

    def one_of(table: Mapping[str, str]) -> str:
        return "|".join(re.escape(sign) for sign in sorted(table, key=len, reverse=True))

    currency = rf"(?P<currency>{one_of(language.currencies)})"
    scale = rf"(?:\s(?P<scale>{language.scales})(?!\w))?"
    patterns: list[tuple[str, Callable[[re.Match[str], Language], str]]] = [
        (rf"(?<!\w)(?:{one_of(language.abbreviations)})(?!\w)", _abbreviation),
        (r"(?<![\w/.,])\d+/\d+(?![\w/])", _fraction),
        (r"(?<![\w-])(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)(?![\w-])", _date),
        (
            r"(?<![\w/.-])(?P<day>\d{1,2})([/.-])(?P<month>\d{1,2})\2(?P<year>\d{4})"
            r"(?!\w|[/.-]\d)",
            _date,
        ),
        (
            r"(?<![\w:.,])(?P<hour>1?\d|2[0-4]|0\d)(?::|\s?h\s?)(?P<minute>[0-5]\d)(?![\w:])"
            r"(?:\s(?:Uhr|uur)\b)?",
            _clock,
        ),
        (r"(?<![\w:.,])(?P<hour>1?\d|2[0-4]|0\d)\s?h(?P<minute>)(?!\w)", _clock),
        (rf"(?<!\w){currency}\s?{_SPAN}{scale}", _money),
        (rf"{_SPAN}{scale}\s?{currency}(?!\w)", _money),
        (rf"{_SPAN}\s?(?P<unit>{one_of(language.units)})(?!\w)", _measure),
        (_ORDINALS[code], _ordinal),
        (r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", lambda match, language: " "),
        (rf"{_SPAN}(?!\d)", _span),
        (r"\d+", _plain),
        (rf"\s?([{''.join(map(re.escape, language.symbols))}])\s?", _symbol),
    ]
    if code in ("de", "nl"):
        clock = (
            r"(?<![\w:.,])(?P<hour>1?\d|2[0-4]|0\d)(?:\.(?P<minute>[0-5]\d))?\s(?:Uhr|uur)\b",
            _clock,
        )
        years = (r"(?<![\w.,])(?:1[1-9]\d\d|20\d\d)(?!\w|[.,-]\d)", _year)
        patterns[4:4] = [clock]
        patterns[-4:-4] = [years]
    if code == "de":
        day = r"(?<![\w.])(?P<number>\d{1,2})\."
        patterns[-5:-5] = [(day + rf"(?=\s(?:{'|'.join(language.months.split())})\b)", _german_day)]
    return tuple((re.compile(pattern), speak) for pattern, speak in patterns)
