"""The tokenizer of an own voice: single characters, as a SentencePiece model.

    python -m training.tokens --sentences sentences.jsonl --out tokenizer.model
    python -m training.tokens --dictionary cmudict.dict --out tokenizer.model

With a pronouncing dictionary the characters are phonemes (`training.data.phonemes`); English
spelling is then not for the model to learn. Without one they are letters; case is folded, and
digits and punctuation are covered whether the text has them or not.
"""

import io
import string
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.command_line import command_parser, run_command
from training.data.phonemes import IPA, MARKS, read_dictionary, rules
from training.data.sentences import read_sentences

PUNCTUATION = ".,;:?!'\"-()&%$/"
SPECIAL = 4  # unknown, begin, end, word start


def train_tokenizer(sentences: Iterable[str], out: Path) -> None:
    """Letters. Writes the SentencePiece model to `out` and nothing else."""
    required = string.ascii_lowercase + string.digits + PUNCTUATION
    _train(sentences, required, out, normalization_rule_name="nmt_nfkc_cf")


def reading_tokenizer(pronunciations: Mapping[str, str], out: Path) -> None:
    """Phonemes; the dictionary (word to ARPAbet) is compiled into the model's rewriting rules."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "rules.tsv"
        lines = (
            f"{_code_points(text)}\t{_code_points(sounds)}\n"
            for text, sounds in rules(pronunciations).items()
        )
        table.write_text("".join(lines))
        some = list(pronunciations)[:100]
        _train(some, "".join(IPA) + MARKS, out, normalization_rule_tsv=str(table))


def _train(sentences: Iterable[str], required: str, out: Path, **normalisation: Any) -> None:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="char",
        vocab_size=len(required) + SPECIAL,
        required_chars=required,
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
        **normalisation,
    )
    out.write_bytes(model.getvalue())


def _code_points(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)


def main() -> None:
    parser = command_parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--sentences", type=Path, help="letters, as these sentences need them")
    source.add_argument("--dictionary", type=Path, help="phonemes, by a file in CMUdict's form")
    parser.add_argument("--out", type=Path, required=True, help="new tokenizer")
    args = parser.parse_args()
    if args.dictionary:
        with open(args.dictionary, encoding="utf8") as lines:
            reading_tokenizer(read_dictionary(lines), args.out)
    else:
        train_tokenizer((row["text"] for row in read_sentences(args.sentences)), args.out)
    print(args.out, args.out.stat().st_size, "bytes")


if __name__ == "__main__":
    run_command(main)
