"""English readings of amounts and codes: money, measures, fractions, versions, telephone numbers.

The rules run in order, and each replaces one notation by words. The order therefore resolves
ambiguous notations: `12:30` is a time, `16:9` a ratio.
"""

import re

from pocket_tts_jax.text.numbers import english_dates
from pocket_tts_jax.text.numbers.english_dates import Rule
from pocket_tts_jax.text.numbers.english_tables import (
    CURRENCIES,
    FRACTIONS,
    KINGS,
    LABELS,
    PARTS,
    PER,
    SCALES,
    UNITS,
)
from pocket_tts_jax.text.numbers.words import cardinal, ordinal, spell_digits
from pocket_tts_jax.text.traced import sub

_DENOMINATORS = {*range(2, 11), 12, 16, 20, 32, 64, 100, 1000}
_FIXED = {(24, 7), (9, 11)}  # not fractions
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50}
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SURFACES = {"²": "square", "2": "square", "³": "cubic", "3": "cubic"}

_AMOUNT = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_SIGN = r"(?P<sign>(?<![\w)])[-−])?"
_SPAN = rf"(?<![\w.,])(?P<low>{_AMOUNT})(?:(?:-|\s?–\s?)(?P<high>{_AMOUNT}))?"


def read_numbers(text: str) -> str:
    """`text` with every number in decimal digits written out."""
    for pattern, speak in RULES:
        text = sub(pattern, speak, text)
    return text


def number(digits: str) -> str:
    """1,984 or 3.14 or .5 in words."""
    whole, point, rest = digits.replace(",", "").partition(".")
    words = cardinal(whole, "en") if whole else ""
    return f"{words} point {spell_digits(rest, 'en')}".strip() if point else words


def _named(forms: str, amount: str) -> str:
    """The singular or plural from a table entry."""
    return forms.split()[amount != "1"].replace("_", " ")


def _span(match: re.Match[str]) -> str:
    words = ("minus " if match["sign"] else "") + number(match["low"])
    return f"{words} to {number(match['high'])}" if match["high"] else words


def _one_of(table: dict[str, str]) -> str:
    return "|".join(re.escape(sign) for sign in sorted(table, key=len, reverse=True))


def _phone(match: re.Match[str]) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    groups = re.findall(r"\d+", match[0])
    return plus + ", ".join(spell_digits(group, "en") for group in groups)


def _money(match: re.Match[str]) -> str:
    forms = CURRENCIES[match["currency"]]
    low, last = match["low"], match["high"] or match["low"]
    if match["scale"]:
        scale = SCALES.get(match["scale"], match["scale"])
        return f"{_span(match)} {scale} {_named(forms, '')}"
    whole, _, cents = low.replace(",", "").partition(".")
    if match["high"] or len(cents) != 2 or len(forms.split()) < 4:
        return f"{_span(match)} {_named(forms, last)}"
    whole, cents = str(int(whole or "0")), str(int(cents))
    parts = []
    if whole != "0" or cents == "0":
        parts.append(f"{cardinal(whole, 'en')} {_named(forms, whole)}")
    if cents != "0":
        parts.append(f"{cardinal(cents, 'en')} {_named(' '.join(forms.split()[2:]), cents)}")
    return ("minus " if match["sign"] else "") + " and ".join(parts)


def _scaled(match: re.Match[str]) -> str:
    return f"{_span(match)} {SCALES[match['scale']]}"


def _measure(match: re.Match[str]) -> str:
    words = _named(UNITS[match["unit"]], match["high"] or match["low"])
    if match["surface"]:
        words = f"{_SURFACES[match['surface']]} {words}"
    if match["per"]:
        words += f" per {_named(UNITS.get(match['per'], match['per']), '1')}"
    return f"{_span(match)} {words}"


def _inches(match: re.Match[str]) -> str:
    feet = f"{number(match[1])} {_named('foot feet', match[1])} " if match[1] else ""
    return f"{feet}{number(match[2])} {_named('inch inches', match[2])}"


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match["whole"], int(match["top"]), int(match["bottom"])
    if top == bottom or (top, bottom) in _FIXED:
        return f"{cardinal(str(top), 'en')} {cardinal(str(bottom), 'en')}"
    if bottom not in _DENOMINATORS:
        over = f"{number(match['top'])} over {number(match['bottom'])}"
        return f"{number(whole)} {over}" if whole else over
    one = {2: "half", 4: "quarter"}.get(bottom, ordinal(bottom, "en").removeprefix("one "))
    many = "halves" if bottom == 2 else one + "s"
    part = f"{cardinal(str(top), 'en')} {one if top == 1 else many}"
    if whole:
        article = "an" if one.startswith("e") else "a"
        return f"{number(whole)} and {f'{article} {one}' if top == 1 else part}"
    return part


def _by(match: re.Match[str]) -> str:
    return " by ".join(number(side) for side in re.findall(r"[\d.]+", match[0]))


def _dotted(match: re.Match[str]) -> str:
    parts = match["parts"].split(".")
    words = (" dot " if len(parts) == 4 else " point ").join(number(part) for part in parts)
    return f"version {words}" if match["v"] else words


def _ordinal(match: re.Match[str]) -> str:
    return ordinal(int(match[1].replace(",", "")), "en")


def _power(match: re.Match[str]) -> str:
    exponent = match[1].translate(_SUPERSCRIPTS).replace("+", "")
    if exponent in ("2", "3"):
        return " squared" if exponent == "2" else " cubed"
    minus = "minus " if exponent.startswith("-") else ""
    return f" to the power of {minus}{cardinal(exponent.lstrip('-'), 'en')}"


def _roman(match: re.Match[str]) -> str:
    values = [_ROMAN[letter] for letter in match["roman"]]
    total = sum(-v if v < max(values[i:]) else v for i, v in enumerate(values))
    if match["part"]:
        return f"{match['part']} {cardinal(str(total), 'en')}"
    return f"{match['king']} the {ordinal(total, 'en')}"


def _label(match: re.Match[str]) -> str:
    return LABELS[match[1]] + " "


_CURRENCY = _one_of(CURRENCIES)
_SCALE = r"(?:\s?(?P<scale>[kKMB]|bn|[mbT]|thousand|million|billion|trillion)(?!\w))?"
_PER = "|".join([_one_of(UNITS), *PER])

AMOUNTS: list[Rule] = [
    (
        re.compile(
            rf"{_SIGN}(?<!\w)(?P<currency>{_CURRENCY})\s?(?P<low>{_AMOUNT})"
            rf"(?:\s?[-–]\s?(?:{_CURRENCY})?(?P<high>{_AMOUNT}))?{_SCALE}(?!\d)"
        ),
        _money,
    ),
    (re.compile(rf"{_SIGN}{_SPAN}{_SCALE}\s?(?P<currency>{_CURRENCY})(?!\w)"), _money),
    (re.compile(r"(?<![\w.])(?P<v>[vV])\.?\s?(?P<parts>\d+(?:\.\d+)*)(?!\w|\.\d)"), _dotted),
    (re.compile(r"(?<![\w.])(?P<v>)(?P<parts>\d+(?:\.\d+){2,})(?!\w|\.\d)"), _dotted),
    (re.compile(r"(?<![\w.])(?:(\d+)['′])?(\d+)[\"″](?!\w)"), _inches),
    (re.compile(r"(?<![\w.])()(\d+(?:\.\d+)?)in(?!\w)"), _inches),
    (
        re.compile(
            rf"{_SIGN}{_SPAN}[\s-]?(?P<unit>{_one_of(UNITS)})(?P<surface>[²³]|(?<=[mt])[23])?"
            rf"(?:/(?P<per>{_PER}))?(?!\w)(?:\.(?=\s[a-z]))?"
        ),
        _measure,
    ),
    (re.compile(rf"{_SIGN}{_SPAN}(?P<scale>k|M|B|bn|(?<=\d\d)K)(?!\w)"), _scaled),
    (re.compile(r"(?<![\w.,])(\d+(?:\.\d+)?)((?:\s?x\s?|×)\d+(?:\.\d+)?)+(?!\w)"), _by),
    (re.compile(r"(?<=\d)x(?!\w)"), lambda match: " times"),
    (
        re.compile(
            r"(?<![\w/.,])(?:(?P<whole>\d+)[ -])?(?P<top>\d{1,3})/(?P<bottom>\d{1,4})(?![\w/])"
        ),
        _fraction,
    ),
    (re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3}){1,3}|\d{1,12})(?:st|nd|rd|th)\b"), _ordinal),
    (re.compile(r"(?<=\d):(?=\d)"), lambda match: " to "),
    (re.compile(r"(?<=\d)[eE]([-+]?\d+)(?!\w)"), lambda match: f" times ten{_power(match)}"),
    (re.compile(r"(?<=[\w)])\^?([⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"), _power),
    (re.compile(r"(?<=[\w)])\^(-?\d+)"), _power),
]

PLAIN: list[Rule] = [
    (re.compile(rf"(?<!\w)({_one_of(LABELS)})\s?(?=\d|\.\d)"), _label),
    (re.compile(r"(?<=\d) [-−] (?=\d)"), lambda match: " minus "),
    (re.compile(rf"{_SIGN}{_SPAN}(?!\d)"), _span),
    (re.compile(r"\d+"), lambda match: cardinal(match[0], "en")),
]

RULES: list[Rule] = [
    (re.compile("[₀-₉]+"), lambda match: match[0].translate(_SUBSCRIPTS)),  # H₂O
    (
        re.compile(f"(?:(\\d)\\s?)?([{''.join(FRACTIONS)}])"),
        lambda match: (f"{match[1]} " if match[1] else "") + FRACTIONS[match[2]],
    ),
    (
        re.compile(
            r"(?<![\w.,+-])(?:(?:\+?\d{1,3}[ .-])?(?:\(\d{3}\)\s?|\d{3}[ .-])\d{3}[.-]\d{4}"
            r"|\d{3}-\d{4}|\+\d{1,3}(?:[ .-]\d{2,4}){2,5})(?![\w-]|\.\d)"
        ),
        _phone,
    ),
    *english_dates.DATES,
    *AMOUNTS,
    *english_dates.YEARS,
    # A number that touches a letter is a word of its own: B2B, MP3, 1080p.
    (re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"), lambda match: " "),
    *PLAIN,
    (
        re.compile(
            rf"\b(?:(?P<part>{PARTS})|(?P<king>{KINGS})(?= [IVXL]{{2}}| V\b)) (?P<roman>[IVXL]+)\b"
        ),
        _roman,
    ),
]
