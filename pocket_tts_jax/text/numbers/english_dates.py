"""English readings of dates, times and years."""

import re
from collections.abc import Callable

from pocket_tts_jax.text.numbers.english_tables import MONTHS, ends_sentence
from pocket_tts_jax.text.numbers.words import cardinal, ordinal, year

_BY_START = {name[:3]: name for name in MONTHS}
_MONTH = rf"(?P<month>{'|'.join(MONTHS)}|(?:{'|'.join(_BY_START)}|Sept)\b\.?)"
_DAY = r"(?P<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?(?![\w:/%]|[.,]\d)"
_YEAR = r"(?P<year>1[0-9]\d\d|20\d\d)(?![\w:/%]|[.,]\d)"
_HALF = r"(?P<half>[ap])(?:\.\s?m\.|m\b)"


def _spoken_date(day: int, month: int, year_digits: str) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    if len(year_digits) == 2:  # as POSIX reads them
        year_digits = ("19" if int(year_digits) > 68 else "20") + year_digits
    return f"{MONTHS[month - 1]} {ordinal(day, 'en')}, {year(int(year_digits), 'en')}"


def _iso_date(match: re.Match[str]) -> str:
    date = _spoken_date(int(match[3]), int(match[2]), match[1])
    return match[0] if date is None else date + (" at " if match["time"] else "")


def _slash_date(match: re.Match[str]) -> str:
    first, second = int(match[1]), int(match[2])
    month, day = (first, second) if first <= 12 else (second, first)
    return _spoken_date(day, month, match[3]) or match[0]


def _dotted_date(match: re.Match[str]) -> str:
    return _spoken_date(int(match[1]), int(match[2]), match[3]) or match[0]


def _month_day(match: re.Match[str]) -> str:
    tail = f", {year(int(match['year']), 'en')}" if match["year"] else ""
    return f"{_BY_START[match['month'][:3]]} {ordinal(int(match['day']), 'en')}{tail}"


def _day_month(match: re.Match[str]) -> str:
    tail = f" {year(int(match['year']), 'en')}" if match["year"] else ""
    day = ordinal(int(match["day"]), "en")
    return f"{match['the'] or 'the '}{day} of {_BY_START[match['month'][:3]]}{tail}"


def _month_year(match: re.Match[str]) -> str:
    return f"{_BY_START[match['month'][:3]]} {year(int(match['year']), 'en')}"


def _clock(match: re.Match[str]) -> str:
    hour, minute, half = int(match["hour"]), int(match["minute"]), match["half"]
    words = cardinal(str(hour), "en")
    if minute:
        words += f" {'oh ' if minute < 10 else ''}{cardinal(str(minute), 'en')}"
    elif not half:
        words += " hundred" if hour > 12 else " o'clock"
    if match["second"]:
        seconds = int(match["second"])
        words += f" and {cardinal(str(seconds), 'en')} second{'' if seconds == 1 else 's'}"
    return words + (_half(match) if half else "")


def _full_hour(match: re.Match[str]) -> str:
    return cardinal(str(int(match["hour"])), "en") + _half(match)


def _half(match: re.Match[str]) -> str:
    stop = match[0].endswith(".") and ends_sentence(match.string, match.end())
    return f" {match['half'].upper()} M{'.' if stop else ''}"


def _decade(match: re.Match[str]) -> str:
    digits = match["digits"]
    words = year(int(digits), "en") if len(digits) == 4 else cardinal(digits, "en")
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _years(match: re.Match[str]) -> str:
    words = year(int(match["first"]), "en")
    if not match["last"]:
        return words
    last = match["last"]
    return f"{words} to {year(int(last), 'en') if len(last) == 4 else cardinal(last, 'en')}"


def _era(match: re.Match[str]) -> str:
    return f"{year(int(match[1]), 'en')} {' '.join(match[2].replace('.', ''))}"


Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

DATES: list[Rule] = [
    (re.compile(r"(?<![\w-])(\d{4})-(\d\d)-(\d\d)(?:(?P<time>T(?=\d\d:))|(?![\w-]))"), _iso_date),
    (re.compile(r"(?<![\w/])(\d{1,2})/(\d{1,2})/(\d{4}|\d\d)(?![\w/])"), _slash_date),
    (re.compile(r"(?<![\w.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\w|\.\d)"), _dotted_date),
    (re.compile(rf"\b{_MONTH}\s{_DAY}(?:,?\s{_YEAR})?"), _month_day),
    (
        re.compile(rf"(?P<the>\b[Tt]he\s)?(?<![\w.,-]){_DAY}\s{_MONTH}(?!\w)(?:,?\s{_YEAR})?"),
        _day_month,
    ),
    (re.compile(rf"\b{_MONTH},?\s{_YEAR}"), _month_year),
    (
        re.compile(
            r"(?<![\w:.])(?P<hour>1?\d|2[0-4]|0\d):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?"
            rf"(?:\s?{_HALF}|(?![\w:]))",
            re.IGNORECASE,
        ),
        _clock,
    ),
    (re.compile(rf"(?<![\w:.,])(?P<hour>1[0-2]|0?\d)\s?{_HALF}", re.IGNORECASE), _full_hour),
    (re.compile(r"(?<![\w.,'’])['’]?(?P<digits>1[1-9]\d0|20\d0|[2-9]0)['’]?s\b"), _decade),
    (re.compile(r"(?<![\w.,])(\d{1,4})\s(BCE|CE|BC|AD|B\.C\.|A\.D\.)(?!\w)"), _era),
]

# These rules run last: 1984 is a year unless another rule has read it as something else.
YEARS: list[Rule] = [
    (re.compile(r"(?<=\b[Ii]n )(?P<first>10\d\d)(?P<last>)(?![\w%]|[.,]\d)"), _years),
    (
        re.compile(
            r"(?<![\w.,#/-])(?P<first>1[1-9]\d\d|20\d\d)(?:[-–](?P<last>\d{4}|\d\d))?"
            r"(?![\w%/]|[.,-]\d)"
        ),
        _years,
    ),
]
