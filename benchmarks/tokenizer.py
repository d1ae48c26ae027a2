"""Makes a vocabulary of the size in a configuration, without a download or training.

Most pieces are made up. It contains the pieces into which the published English vocabulary cuts the
texts of the benchmarks, so that these have the same number of tokens, and of frames, as with it.
"""

import itertools
import json
import string
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

SPECIAL = ("<unk>", "<s>", "</s>")
SPACE = "▁"
PUBLISHED = tuple("T he ▁train ▁was ▁late ▁again , ▁so ▁we ▁walk ed ▁home . W e H el lo".split())
_LENGTHS = (2, 3)


def pieces(count: int) -> list[str]:
    """`count` different pieces: special tokens, printable characters, those of the texts, then
    runs of letters."""
    letters = string.ascii_lowercase
    characters = [SPACE, *(c for c in map(chr, range(33, 127)))]
    runs = (
        lead + "".join(run)
        for length in _LENGTHS
        for lead in (SPACE, "")
        for run in itertools.product(letters, repeat=length)
    )
    found = list(dict.fromkeys([*SPECIAL, *characters, *PUBLISHED, *runs]))
    if len(found) < count:
        raise ValueError(f"a vocabulary of {count} pieces is asked for, {len(found)} can be made")
    return found[:count]


def write_tokenizer(path: Path, count: int) -> None:
    """Write a unigram vocabulary of `count` pieces, built like the published one: a text starts
    with `<s>`, and a word with its space. Pieces of the texts score highest, then longer ones."""
    vocabulary = [(piece, _score(piece)) for piece in pieces(count)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=False))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    path.write_text(json.dumps(json.loads(tokenizer.to_str())), encoding="utf-8")


def _score(piece: str) -> float:
    return -1.0 if piece in PUBLISHED else -10.0 / max(1, len(piece)) - 1
