"""Engines side by side: `python -m benchmarks.compare [--quick] [--json FILE] [--plots DIR]`.

Same text, voice and weights (see `workload`). Each run is a process of its own, one at a time. The
engines take turns, so that a slow minute of the machine affects all of them. A first round is not
recorded: it fills the caches on disk (compiled code, packed weights), as in normal use.

Real-time factor (rtf): seconds of audio per second of wall time, higher is better. First audio:
from text to the first samples, in a warm process. Load: model and voice, after the import. Peak
memory: of the whole process. `threads`: the engine's own setting; for JAX, which has none, the
processors it may use. pocket-tts and this package also run model and decoder in two threads.
"""

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import ask
from benchmarks.engines import ENGINES, NOT_COMPARABLE, SWIFT, Engine, pairs
from benchmarks.machine import commit, describe_machine
from benchmarks.ratios import LITERT, ratio_lines
from benchmarks.table import markdown
from benchmarks.texts import BATCH_TEXT, QUICK_TEXT, TEXT
from benchmarks.workload import (
    FULL_SIZE,
    QUICK_SIZE,
    ExportRefused,
    Workload,
    default_folder,
    make_export,
    make_workload,
)

SCHEMA = 1
BATCH = 16
FIELDS = (
    "rtf",
    "first_audio_ms",
    "load_s",
    "peak_rss_mb",
    "cpu_s_per_audio_s",
    "import_s",
    "start_s",
    "cold_first_audio_ms",
    "audio_s",
)
RUN_LIMIT_S = 600
EXPORTED = (LITERT, SWIFT)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    engine: str
    precision: str
    threads: int
    batch: int = 1


def main() -> None:
    options = _parse()
    cases, skipped = choose_cases(options.engines, options.threads, full_size=not options.quick)
    stop_without(cases, skipped)
    workload = make_workload(options.folder, QUICK_SIZE if options.quick else FULL_SIZE)
    cases, refused = with_exports(cases, workload)
    skipped += refused
    stop_without(cases, skipped)
    text = QUICK_TEXT if options.quick else TEXT
    runs = measure_all(cases, workload, text, options.runs)
    report = {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "commit": commit(),
        "workload": {
            "config": QUICK_SIZE if options.quick else FULL_SIZE,
            "text": text,
            "tokens": workload.tokens(text),
            "frames": workload.expected_frames(text),
            "weights": "random, of published size",
            "runs": options.runs,
        },
        "results": summarise(cases, runs),
        "skipped": skipped,
    }
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(markdown(report))
    print("\n".join(ratio_lines(report)))
    if options.plots is not None:
        from benchmarks.plots import write_plots

        write_plots(report, options.plots)


def choose_cases(
    wanted: Sequence[str], threads: list[int], *, full_size: bool
) -> tuple[list[Case], list[dict[str, str]]]:
    """The cases that can be run here, and the reasons why others cannot."""
    cases, skipped = [], []
    for engine in ENGINES.values():
        reason = _reason_to_skip(engine, full_size)
        if wanted and engine.name not in wanted:
            continue
        if reason:
            skipped.append({"engine": engine.name, "reason": reason})
            continue
        # The small model has too few weights for quantisation: float32 only.
        precisions = pairs(threads, engine) if full_size else [("fp32", threads[-1])]
        cases += [Case(engine.name, precision, count) for precision, count in precisions]
        if engine.name == "pocket_tts_jax.jax":
            cases.append(Case(engine.name, "fp32", threads[-1], BATCH))
    skipped += [
        {"engine": name, "reason": reason}
        for name, reason in NOT_COMPARABLE.items()
        if not wanted or name in wanted
    ]
    return cases, skipped


def with_exports(cases: list[Case], workload: Workload) -> tuple[list[Case], list[dict[str, str]]]:
    """The cases whose exports exist now, and the exports that the gate refused."""
    refused: dict[str, dict[str, str]] = {}
    for precision in dict.fromkeys(c.precision for c in cases if c.engine in EXPORTED):
        try:
            make_export(workload, precision)
        except ExportRefused as error:
            refused[precision] = {"engine": LITERT, "reason": str(error)}
    kept = [c for c in cases if c.engine not in EXPORTED or c.precision not in refused]
    return kept, list(refused.values())


def stop_without(cases: list[Case], skipped: list[dict[str, str]]) -> None:
    """End the program with the reasons if no case is left."""
    if not cases:
        reasons = "".join(f"\n- {entry['engine']}: {entry['reason']}" for entry in skipped)
        print(f"nothing can be measured here; choose other --engines:{reasons}", file=sys.stderr)
        sys.exit(2)


def _reason_to_skip(engine: Engine, full_size: bool) -> str:
    if not engine.installed:
        return f"not installed: {engine.install}"
    if engine.full_size_only and not full_size:
        return "cannot run the small model of --quick"
    return ""


def measure_all(
    cases: list[Case], workload: Workload, text: str, runs: int
) -> dict[Case, list[dict[str, Any]]]:
    """`runs` recorded runs of each case. Cases take turns; each round starts at another case."""
    found: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases}
    for turn in range(runs + 1):
        start = turn % len(cases)
        for case in cases[start:] + cases[:start]:
            result = run_once(case, workload, text)
            label = "warm-up" if turn == 0 else f"run {turn} of {runs}"
            print(f"{label}: {_line(case, result)}", file=sys.stderr, flush=True)
            if turn > 0:
                found[case].append(result)
    return found


def run_once(case: Case, workload: Workload, text: str) -> dict[str, Any]:
    """Measure one case in a process. Raises RuntimeError with its output if it fails."""
    arguments = ["--folder", workload.path, "--engine", case.engine]
    arguments += ["--precision", case.precision, "--threads", case.threads, "--batch", case.batch]
    arguments += ["--text", BATCH_TEXT if case.batch > 1 else text]
    environment = workload.environment
    return ask("benchmarks.worker", arguments, case, environment=environment, limit_s=RUN_LIMIT_S)


def summarise(cases: list[Case], runs: dict[Case, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Medians of the fields, all runs, and the frames' arrivals of the median run."""
    results = []
    for case in cases:
        rows = runs[case]
        middle = sorted(rows, key=lambda row: row["rtf"])[len(rows) // 2]
        medians = {f: round(statistics.median(row[f] for row in rows), 3) for f in FIELDS}
        kept = [{f: round(row[f], 4) for f in FIELDS} for row in rows]
        results.append(
            dataclasses.asdict(case)
            | medians
            | {"runs": kept, "arrivals_ms": middle["arrivals_ms"]}
        )
    return results


def _line(case: Case, result: dict[str, Any]) -> str:
    figures = ", ".join(f"{f} {result[f]:.2f}" for f in FIELDS[:6])
    return f"{case.engine} {case.precision} ×{case.threads} batch {case.batch}: {figures}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smallest model, one run")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--plots", type=Path, help="write plots into this folder")
    parser.add_argument(
        "--engines", type=lambda x: x.split(","), default=[], help="comma-separated"
    )
    parser.add_argument("--runs", type=int, help="recorded runs per case (5; 1 with --quick)")
    parser.add_argument("--threads", type=lambda x: [int(n) for n in x.split(",")], default=[1, 2])
    parser.add_argument("--folder", type=Path, help="where the model of the measurement is kept")
    options = parser.parse_args()
    unknown = [n for n in options.engines if n not in ENGINES and n not in NOT_COMPARABLE]
    if unknown:
        parser.error(f"unknown engines {unknown}; known are {', '.join(ENGINES)}")
    options.runs = options.runs or (1 if options.quick else 5)
    size = "quick" if options.quick else "full"
    options.folder = options.folder or default_folder(size)
    return options


if __name__ == "__main__":
    main()
