"""Many streams at once: `python -m benchmarks.throughput [--quick] [--json FILE]`.

1, 2, 4, 8 and 16 streams begin at once and speak the same text with the same weights (see
`workload`). Real-time factor: seconds of audio of all streams per second. First audio: from the
begin of a stream to its first samples. Late: the share of frames that come later than real-time
playback from the stream's first frame needs them. Each engine serves many in two ways: threads of
one process that has two threads for each operation, and two processes with one thread each. Ours
are its workers; among those of other engines, which have no such option, the streams are divided.
Cases take turns in each round.

`--steps` prints what a batched step costs, beside a one-row step. `--bulk CORPUS` speaks a corpus
with the voice in the package, and with other ways of speaking many texts.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.bulk import speak_corpus
from benchmarks.engines import ENGINES
from benchmarks.machine import commit, describe_machine
from benchmarks.texts import TEXT
from benchmarks.workload import (
    FULL_SIZE,
    QUICK_SIZE,
    Workload,
    default_folder,
    make_export,
    make_workload,
)

OURS = "pocket_tts_jax.litert"
FRAME_SECONDS = 0.08
STREAMS = (1, 2, 4, 8, 16)
CORES = 2


@dataclass(frozen=True)
class Case:
    """One way to serve many streams."""

    engine: str
    precision: str
    processes: int

    @property
    def begun(self) -> int:
        """How many processes the benchmark begins: ours begin workers by themselves."""
        return 1 if self.engine == OURS else self.processes

    @property
    def threads(self) -> int:
        """Of each operation."""
        return CORES // self.begun

    @property
    def workers(self) -> int:
        return self.processes if self.processes > self.begun else 0

    @property
    def name(self) -> str:
        way = "threads" if self.processes == 1 else f"{self.processes} processes"
        return f"{self.engine} {self.precision}, {way}"


CASES = (
    *(
        Case(OURS, precision, processes)
        for precision in ("int8", "int8+decoder", "int4", "int4+decoder")
        for processes in (1, 2)
    ),
    Case("pocket-tts", "int8", 1),
    Case("pocket-tts", "int8", 2),
    Case("ptts", "q4k", 1),
    Case("ptts", "q4k", 2),
)
QUICK_CASES = (Case(OURS, "fp32", 1), Case(OURS, "fp32", 2), Case("pocket-tts", "fp32", 1))


def main() -> None:
    options = _parse()
    report: dict[str, Any] = {"machine": describe_machine(), "commit": commit()}
    if options.bulk is not None:
        report["bulk"] = speak_corpus(options.bulk, options.reference)
    else:
        workload = make_workload(options.folder, QUICK_SIZE if options.quick else FULL_SIZE)
        cases = [c for c in options.cases if ENGINES[c.engine].installed]
        absent = {c.engine: ENGINES[c.engine].install for c in options.cases if c not in cases}
        report["not installed"] = absent
        for engine, install in absent.items():
            print(f"{engine} is not installed, so it is not measured: {install}", file=sys.stderr)
        for precision in {c.precision for c in cases if c.engine == OURS}:
            make_export(workload, precision)
        if options.steps:
            precisions = {c.precision for c in cases if c.engine == OURS}
            report["steps"] = [time_steps(workload, p, n) for p in precisions for n in (1, 2)]
        else:
            report["streams"] = measure_all(cases, workload, options.streams, options.rounds)
    text = json.dumps(report, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)


def measure_all(
    cases: Sequence[Case], workload: Workload, streams: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """Medians over the rounds; every round starts at another case."""
    found: dict[tuple[Case, int], list[dict[str, float]]] = {}
    for turn in range(rounds):
        first = turn % len(cases)
        for case in [*cases[first:], *cases[:first]]:
            for count, figures in measure(case, workload, streams):
                found.setdefault((case, count), []).append(figures)
                print(f"round {turn + 1}: {case.name}, {count}: {figures}", file=sys.stderr)
    return [
        asdict(case)
        | {"streams": count, "rounds": len(runs)}
        | {name: round(median(run[name] for run in runs), 3) for name in runs[0]}
        for (case, count), runs in found.items()
    ]


def measure(
    case: Case, workload: Workload, streams: Sequence[int]
) -> Iterator[tuple[int, dict[str, float]]]:
    """The figures of each number of streams, in processes that stay open."""
    with ExitStack() as stack:
        children = [stack.enter_context(_child(case, workload)) for _ in range(case.begun)]
        for count in streams:
            shares = [len(range(i, count, case.begun)) for i in range(case.begun)]
            for child, share in zip(children, shares, strict=True):
                _tell(child, share)
            times = [stream for child in children for stream in json.loads(_line(child))]
            yield count, summary(times)


def summary(times: Sequence[Sequence[float]]) -> dict[str, float]:
    """The figures of streams, each with the times of its begin and of its frames, in seconds."""
    frames = sum(len(stream) - 1 for stream in times)
    wall = max(stream[-1] for stream in times) - min(stream[0] for stream in times)
    first = [1e3 * (stream[1] - stream[0]) for stream in times]
    late = sum(
        moment > stream[1] + FRAME_SECONDS * number
        for stream in times
        for number, moment in enumerate(stream[1:])
    )
    return {
        "rtf": frames * FRAME_SECONDS / wall,
        "first_audio_p50_ms": float(np.percentile(first, 50)),
        "first_audio_p95_ms": float(np.percentile(first, 95)),
        "late": late / frames,
    }


def time_steps(workload: Workload, precision: str, threads: int) -> dict[str, Any]:
    """Milliseconds of a step of FlowLM for one row and for batches, and their ratios."""
    from benchmarks.parts import median_ms
    from pocket_tts_jax.litert_engine.engine import LiteRTEngine

    engine = LiteRTEngine(workload.export(precision), threads=threads)
    flow_lm, capacity = engine.flow_lm, min(engine.folder.capacities)
    block = flow_lm.caches.take(1).block
    names = {1: f"decode_1_c{capacity}"} | flow_lm.batched_steps(capacity, 1)
    times = {}
    for rows, name in names.items():
        arrays = {key: array[:rows] for key, array in block.arrays.items()}
        call = flow_lm.model.bind(name, arrays)
        call.inputs["position"][...] = capacity // 2
        times[rows] = median_ms(call, 60)
    engine.close()
    return {
        "precision": precision,
        "threads": threads,
        "ms": {rows: round(ms, 2) for rows, ms in times.items()},
        "cost": {rows: round(ms / times[1], 2) for rows, ms in times.items()},
    }


@contextmanager
def _child(case: Case, workload: Workload) -> Iterator[subprocess.Popen[str]]:
    """A process of `benchmarks.streams` that is ready."""
    command = [sys.executable, "-m", "benchmarks.streams", "--folder", str(workload.path)]
    command += ["--engine", case.engine, "--precision", case.precision]
    command += ["--threads", str(case.threads), "--workers", str(case.workers), "--text", TEXT]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=workload.environment,
    )
    try:
        if _line(child) != "ready":
            raise RuntimeError(f"{case.name} did not start")
        yield child
    finally:
        child.kill()
        child.communicate()


def _tell(child: subprocess.Popen[str], streams: int) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{streams}\n")
    child.stdin.flush()


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"a measurement ended: {child.args}")
    return line


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="smallest model, one round, 1 and 4 streams")
    add("--steps", action="store_true", help="only what batched steps cost")
    add("--bulk", type=Path, metavar="CORPUS", help="only a corpus, in several ways")
    add("--reference", type=Path, help="a Python with pocket-tts, for --bulk")
    add("--rounds", type=int, help="5; 1 with --quick")
    add("--streams", type=int, nargs="+")
    add("--engines", nargs="+", choices=sorted({case.engine for case in CASES}))
    add("--precisions", nargs="+", help="of those in the cases")
    add("--folder", type=Path, help="where the model of the measurement is kept")
    add("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.streams = options.streams or ((1, 4) if options.quick else STREAMS)
    options.folder = options.folder or default_folder("quick" if options.quick else "full")
    cases = QUICK_CASES if options.quick else CASES
    options.cases = [
        case
        for case in cases
        if (not options.engines or case.engine in options.engines)
        and (not options.precisions or case.precision in options.precisions)
    ]
    return options


if __name__ == "__main__":
    main()
