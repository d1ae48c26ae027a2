"""Typographic characters as plain ones, so that `we’ve` is spoken like `we've`.

Models saw few curly quotes and special spaces in training, and speak rare tokens as filler
syllables. Opt-in: some models have their own `replace_characters`, which are enough for them.
"""

import re

from pocket_tts_jax.text.traced import sub

_PLAIN = {
    "'": "‘’‚‛ʼ′`´",
    '"': "“”„‟″«»",
    "-": "‐‑‒–−",
    " ": "\u00a0\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))),
    "": "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0e\ufe0f",
    "...": "…",
    "fi": "ﬁ",
    "fl": "ﬂ",
    "ff": "ﬀ",
    "ffi": "ﬃ",
    "ffl": "ﬄ",
}
_TABLE = str.maketrans({c: plain for plain, fancy in _PLAIN.items() for c in fancy})
# `(?<!\s)` starts a match at the first space only: matching from each space of a long run would
# take quadratic time.
_LONG_DASH = re.compile(r"(?:(?<!\s)\s+)?[—―]\s*")


def fold_typography(text: str) -> str:
    """Plain quotes, hyphens, spaces and dots; invisible characters are dropped.

    An em dash becomes a hyphen between spaces, an en dash a hyphen (so `10–20` is `10-20`).
    """
    return sub(_LONG_DASH, " - ", text).translate(_TABLE)
