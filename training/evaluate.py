"""Judge how well a model speaks: words misheard and, if asked, opinion scores.

    python -m training.evaluate --model folder/ --list held_out --page samples.html
    python -m training.evaluate --what engine --model export/ --list new --naturalness 1
    python -m training.evaluate --what plain --tokenizer t.model --list new --json plain.jsonl
    python -m training.evaluate --model folder/ --list new --against plain.jsonl

`--what` says what speaks:

- `model`: `--model`, a folder as `training.export` writes it, many sentences at a time; or the
  parts of an unfinished one: `--config`, `--flow-lm`, `--mimi`, `--codec` and `--tokenizer`;
- `engine`: any model by the package's own engines, one sentence after the other: an export for
  LiteRT, a folder, a name (english); without `--model` the embedded voice;
- `codec`: the latents of the recordings in `--frames` through the decoder;
- `forced`: FlowLM's prediction of each of their frames from the true frames before it;
- `teacher`: those recordings; `reading`: the teacher reading now as it reads for training;
  `plain`: the teacher as it was published.

Each figure has its 95 % interval (bootstrap over sentences). `--json` keeps what each sentence
contributed, and `--against` prints the paired difference to an evaluation that was kept so.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from pocket_tts_jax.open_model import ENGINES
from training.command_line import command_parser, positive, run_command
from training.data.speakers import SPEAKERS
from training.data.spectra import SAMPLE_RATE
from training.judging import subjects
from training.judging.figures import (
    append_line,
    differences,
    fingerprint_of,
    intervals,
    per_sentence,
    read_last_line,
)
from training.judging.naturalness import naturalness
from training.judging.pauses import tone_level
from training.judging.recognition import Judge, Verdict
from training.judging.sentences import LISTS, fixed_sentences, read_lines
from training.judging.subjects import Recording, Spoken

PARTS = {"config", "flow_lm", "mimi", "codec", "tokenizer"}
# By subject and whether there is a --model: the options that it needs, and those it reads besides.
OPTIONS = {
    ("model", True): (set(), {"tokenizer", "temperature", "eos_threshold", "seed"}),
    ("model", False): (PARTS, {"last", "temperature", "eos_threshold", "seed"}),
    ("codec", True): (set(), {"speaker"}),
    ("codec", False): ({"config", "mimi"}, {"speaker"}),
    ("teacher", False): (set(), {"speaker"}),
    ("reading", False): ({"tokenizer"}, {"speaker"}),
    ("plain", False): ({"tokenizer"}, set()),
    ("forced", True): ({"codec"}, {"tokenizer", "history_noise", "seed"}),
    ("forced", False): (PARTS, {"last", "history_noise", "seed"}),
    ("engine", True): (set(), {"voice", "engine", "seed", "speaker"}),
    ("engine", False): (set(), {"voice", "engine", "seed", "speaker"}),
}
# These need recordings; the others speak any text.
OF_RECORDINGS = {"codec", "forced", "teacher"}


def synthesise(args: argparse.Namespace, texts: list[str], rows: list[Recording]) -> Spoken:
    """The audio to judge."""
    speakers = {
        "teacher": lambda: subjects.recorded(rows),
        "reading": lambda: subjects.by_teacher(args, texts),
        "plain": lambda: subjects.by_teacher(args, texts),
        "codec": lambda: subjects.through_codec(args, rows),
        "forced": lambda: subjects.forced(args, rows),
        "model": lambda: subjects.by_model(args, texts, rows),
        "engine": lambda: subjects.by_engine(args, texts),
    }
    return speakers[args.what]()


def report(verdict: Verdict, facts: dict[str, float], seconds: float) -> dict[str, float]:
    """The figures of the judge and of the subject, rounded."""
    words = sum(len(r.split()) for r in verdict.references)
    result = {"wer": verdict.wer, "cer": verdict.cer, "sentences": len(verdict.heard)}
    result |= {"words": words, "skipped": verdict.skipped, "added": verdict.added}
    result |= {"words_per_second": words / seconds} | facts
    return {name: round(value, 4) for name, value in result.items()}


def check_options(args: argparse.Namespace) -> str | None:
    """What is wrong with the options: one is missing, or would do nothing."""
    given = {name for name, value in vars(args).items() if value not in (None, False)}
    subject = f"--what {args.what}" + (" with --model" if args.model else "")
    if (args.what, bool(args.model)) not in OPTIONS:
        return f"{subject} makes no sense: no model has a part in it"
    needed, read = OPTIONS[args.what, bool(args.model)]
    known = set().union(*(a | b for a, b in OPTIONS.values()))
    if idle := given & known - needed - read:
        return f"{subject} does not read {_flags(idle)}"
    if missing := needed - given:
        return f"{subject} needs {_flags(missing)}" + ("" if args.model else ", or --model")
    if args.what in OF_RECORDINGS and not args.frames:
        return f"{subject} needs --frames: it judges recordings"
    if args.what == "engine" and args.speaker and not args.frames:
        return f"{subject} reads --speaker with --frames alone: who speaks is --voice"
    return None


def _flags(names: set[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    add = parser.add_argument
    add("--what", choices=sorted({what for what, _ in OPTIONS}), default="model", help="who speaks")
    add("--model", help="folder of a model; with --what engine also an export, address or name")
    add("--engine", choices=ENGINES, help="for --what engine (default: auto)")
    add("--voice", help="for --what engine: a voice other than the model's own")
    add("--speaker", choices=SPEAKERS, help="whose recordings or reading (default: the teacher's)")
    add("--seed", type=int, help="of what is random in model, forced and engine (default: 0)")
    add("--config", type=Path, help="configuration of an unfinished model")
    add("--flow-lm", type=Path, help="its run of training.flow_lm")
    add("--mimi", type=Path, help="its run of training.codec")
    add("--last", action="store_true", help="FlowLM's last tensors in place of its averages")
    add("--codec", type=Path, help="what defined the latents, for their statistics")
    add("--tokenizer", type=Path, help="tokenizer, if it is not in --model")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--list", choices=sorted(LISTS), help="a fixed list of sentences")
    source.add_argument("--sentences", type=Path, help="a file with one sentence a line")
    source.add_argument("--frames", type=Path, help="the held-out recordings of this folder")
    add("--count", type=positive, help="how many sentences, from the first (default: all)")
    add("--temperature", type=float, help="of sampling (default: 0)")
    add("--eos-threshold", type=float, help="logit above which speech ends (default: the model's)")
    add("--history-noise", type=float, help="for --what forced: std of it (default: 0)")
    add("--threads", type=positive, default=1, help="of the recogniser")
    add("--show", type=int, default=5, help="transcripts to print")
    add(
        "--naturalness",
        type=positive,
        metavar="N",
        help="also guess what listeners would say of every N-th sentence, three seconds each",
    )
    add("--page", type=Path, help="write an HTML page with players and spectrograms")
    add("--json", type=Path, help="append the figures, and those of each sentence, to this file")
    add("--against", type=Path, help="print the difference to the last evaluation in this file")
    return parser


def sentences(args: argparse.Namespace) -> tuple[list[str], list[Recording]]:
    """What is to be spoken, and the recordings of it where there are any."""
    if args.frames:
        rows = subjects.held_out(args.frames, args.count, args.speaker)
        return [u.text for _, u in rows], rows
    if args.list:
        return fixed_sentences(args.list)[: args.count], []
    return read_lines(args.sentences)[: args.count], []


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if wrong := check_options(args):
        parser.error(wrong)
    other = read_last_line(args.against) if args.against else None
    texts, rows = sentences(args)
    spoken = synthesise(args, texts, rows)
    if (tone := tone_level(spoken.audios)) is not None:
        spoken.facts["tone_in_pauses_db"] = tone
    every = args.naturalness
    opinions = naturalness(spoken.audios[::every]) if every else None
    verdict = Judge(args.threads).verdict(spoken.audios, texts)
    line: dict[str, Any] = {"time": time.strftime("%Y-%m-%d %H:%M:%S"), "what": args.what}
    line |= report(verdict, spoken.facts, sum(map(len, spoken.audios)) / SAMPLE_RATE)
    line |= {"texts": fingerprint_of(texts), "each": per_sentence(verdict, opinions, every or 0)}
    if opinions is not None:
        line |= {name: round(float(np.mean(x)), 4) for name, x in opinions._asdict().items()}
    figures = {name: value for name, value in line.items() if name not in ("texts", "each")}
    for reference, heard in list(zip(verdict.references, verdict.heard, strict=True))[: args.show]:
        print(f"  said  {reference}\n  heard {heard}")
    print(json.dumps(figures))
    for name, interval in intervals(line["each"]).items():
        print(f"{name}: {interval}, 95 % interval over sentences")
    if other is not None:
        for name, interval in differences(line, other).items():
            print(f"{name} against {other['what']}: {interval}, paired")
    if args.json:
        append_line(args.json, line)
    if args.page:
        from training.judging.page import write_page

        write_page(args.page, spoken.audios, texts, verdict, figures)


if __name__ == "__main__":
    run_command(main)
