"""Latency of one engine as an app meets it: `python -m benchmarks.latency --model FOLDER`.

Prints one JSON report. Requests are synchronous (the whole result) or streaming (80 ms frames), and
cold (the first of a new process; `load_ms` is import and load before it, `verify_ms` the part of it
that verifies files) or warm (further requests of one process). Percentiles are over requests; those
of gaps are over the waits between frames of all streaming requests, without the first audio.
`stalls` counts frames that arrive too late for a player that starts with the first frame;
`head_start_ms` is the delay with which it has none.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.app import STREAMING, SYNC, model_parser
from benchmarks.child import ask
from benchmarks.machine import commit, describe_machine
from benchmarks.texts import TEXT

SCHEMA = 3
PERCENTILES = (50, 90, 95, 99)
FRAME_MS = 80.0


def main() -> None:
    options = _parse()
    streaming, sync = [], []
    for _ in range(options.processes):
        streaming.append(start_process(options, STREAMING, options.requests))
        sync.append(start_process(options, SYNC, 0))
    report = {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "commit": commit(),
        "model": options.model.name,
        "engine": options.engine,
        "threads": options.threads,
        "text": options.text,
    } | summarise(streaming, sync)
    text = json.dumps(report, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)


def start_process(options: argparse.Namespace, first: str, requests: int) -> dict[str, Any]:
    """The measurement of one `benchmarks.app` process whose first request is of kind `first`."""
    arguments = ["--first", first, "--requests", requests, "--model", options.model]
    arguments += ["--engine", options.engine, "--threads", options.threads, "--text", options.text]
    if options.voice is not None:
        arguments += ["--voice", options.voice]
    return ask("benchmarks.app", arguments, "the process")


def summarise(
    streaming: Sequence[dict[str, Any]], sync: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Percentiles over the requests of all processes, by the kind of their first request."""
    streams = [stream for process in streaming for stream in process[STREAMING]]
    whole = [ms for process in streaming for ms in process[SYNC]]
    gaps = np.concatenate([np.diff(stream["arrivals_ms"]) for stream in streams])
    audio = float(np.median([stream["audio_ms"] for stream in streams]))
    waits = [head_start(stream["arrivals_ms"]) for stream in streams]
    cold = [process["cold"] for process in streaming]
    return {
        "requests": len(streams),
        "processes": len(streaming),
        "audio_ms": round(audio, 1),
        "cold": {
            "load_ms": percentiles([p["load_ms"] for p in (*streaming, *sync)]),
            "verify_ms": percentiles([p["verify_ms"] for p in (*streaming, *sync)]),
            "sync": {"total_ms": percentiles([process["cold"] for process in sync])},
            "streaming": {
                "first_audio_ms": percentiles([s["first_audio_ms"] for s in cold]),
                "total_ms": percentiles([s["total_ms"] for s in cold]),
            },
        },
        "warm": {
            "sync": {
                "total_ms": percentiles(whole),
                "rtf": round(audio / float(np.median(whole)), 2),
            },
            "streaming": {
                "first_audio_ms": percentiles([s["first_audio_ms"] for s in streams]),
                "gap_ms": percentiles(gaps),
                "total_ms": percentiles([s["total_ms"] for s in streams]),
                "stalls": sum(late_frames(s["arrivals_ms"]) for s in streams),
                "head_start_ms": percentiles(waits),
            },
        },
    }


def percentiles(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """{"p50": …, "p90": …, …, "max": …}, interpolated between values."""
    found = {f"p{p}": round(float(np.percentile(values, p)), 2) for p in PERCENTILES}
    return found | {"max": round(float(np.max(values)), 2)}


def head_start(arrivals: Sequence[float], frame_ms: float = FRAME_MS) -> float:
    """The delay after the first frame, in ms, with which a player never waits."""
    due = arrivals[0] + np.arange(len(arrivals)) * frame_ms
    return float(max(0.0, np.max(np.asarray(arrivals) - due)))


def late_frames(arrivals: Sequence[float], frame_ms: float = FRAME_MS) -> int:
    """Number of frames that a player waits for if it starts with the first frame.

    A wait postpones all later frames, so that one delay counts once.
    """
    late, due = 0, arrivals[0]
    for arrival in arrivals:
        if arrival > due:
            late, due = late + 1, arrival
        due += frame_ms
    return late


def _parse() -> argparse.Namespace:
    parser = model_parser(__doc__, TEXT)
    parser.add_argument("--processes", type=int, default=3, help="cold starts for each way to ask")
    parser.add_argument("--requests", type=int, default=20, help="warm requests per process")
    parser.add_argument("--json", type=Path, help="also write the report here")
    options = parser.parse_args()
    if min(options.processes, options.requests) < 1:
        parser.error("--processes and --requests are 1 or more")
    return options


if __name__ == "__main__":
    main()
