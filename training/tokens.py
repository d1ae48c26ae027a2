"""The tokenizer of an own voice: characters, as a SentencePiece model.

    python -m training.tokens --sentences sentences.jsonl --out tokenizer.model

With little data, characters learn pronunciation sooner than pieces. Case is folded, so that a
capital letter is no other sound; digits and punctuation are covered whether the text has them or
not (the front end reads digits as words, but raw text must not become unknown tokens either).
"""

import argparse
import io
import json
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

PUNCTUATION = ".,;:?!'\"-()&%$/"
WORD_START = "\u2581"


def train_tokenizer(sentences: Iterable[str], out: Path) -> None:
    """Writes the SentencePiece model to `out` and nothing else."""
    import sentencepiece

    required = string.ascii_lowercase + string.digits + PUNCTUATION
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="char",
        vocab_size=len(required) + 4,  # unknown, begin, end, word start
        required_chars=required,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc_cf",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    out.write_bytes(model.getvalue())


def word_spans(pieces: Sequence[str]) -> list[tuple[int, int]]:
    """First and one-past-last token of every word; a word starts at a token with a space."""
    starts = [i for i, piece in enumerate(pieces) if piece.startswith(WORD_START)]
    return list(zip(starts, [*starts[1:], len(pieces)], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="train a character tokenizer")
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines = args.sentences.read_text().splitlines()
    train_tokenizer((json.loads(line)["text"] for line in lines), args.out)
    print(args.out, args.out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
