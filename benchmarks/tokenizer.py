"""A vocabulary of the size a configuration asks for, where the published one is not at hand.

Its pieces are made up, so that nothing has to be downloaded or trained: all that a measurement
needs is that every engine cuts the same text into the same tokens.
"""

import itertools
import json
import string
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ("<unk>", "<s>", "</s>")
SPACE = "▁"
_LENGTHS = (2, 3)


def pieces(count: int) -> list[str]:
    """`count` different pieces: special tokens, printable characters, then runs of letters."""
    letters = string.ascii_lowercase
    characters = [SPACE, *(c for c in map(chr, range(33, 127)))]
    runs = (
        lead + "".join(run)
        for length in _LENGTHS
        for lead in (SPACE, "")
        for run in itertools.product(letters, repeat=length)
    )
    found = [*SPECIAL, *characters, *itertools.islice(runs, max(0, count))]
    if len(found) < count:
        raise ValueError(f"a vocabulary of {count} pieces is asked for, {len(found)} can be made")
    return found[:count]


def write_tokenizer(path: Path, count: int) -> None:
    """Write a unigram vocabulary of `count` pieces; longer pieces win."""
    vocabulary = [(piece, -10.0 / max(1, len(piece)) - 1) for piece in pieces(count)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    path.write_text(json.dumps(json.loads(tokenizer.to_str())), encoding="utf-8")
