"""Latency of one engine as an app meets it: `python -m benchmarks.latency --model FOLDER`.

Prints one JSON report. Two ways to ask for speech, synchronous (the whole result) and streaming
(80 ms frames), each cold (a new process: import, load, first request) and warm (further requests
of one process). Percentiles are over requests; those of gaps are over the waits between
deliveries of all streaming requests. `stalls` counts frames that came later than a player
needed them that started with the first, and `head_start_ms` how long it must wait to have none.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.machine import commit, describe_machine
from benchmarks.workload import TEXT

if TYPE_CHECKING:
    from pocket_tts_jax.speech_model import SpeechModel
    from pocket_tts_jax.voices import VoiceState

SCHEMA = 1
PERCENTILES = (50, 90, 95, 99)
FRAME_MS = 80.0
SEED = 7


def main() -> None:
    options = _parse()
    if options.worker:
        result_file = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        json.dump(measure_process(options), result_file)
        result_file.flush()
        os._exit(0)
    processes = [_start_process(sys.argv[1:]) for _ in range(options.processes)]
    report = {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "commit": commit(),
        "model": options.model.name,
        "engine": options.engine,
        "threads": options.threads,
        "text": options.text,
    } | summarise(processes)
    text = json.dumps(report, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)


def _start_process(arguments: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.latency", *arguments, "--worker"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the process failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def measure_process(options: argparse.Namespace) -> dict[str, Any]:
    """One process: how long until it speaks, then warm requests of both kinds."""
    start = time.perf_counter()
    model, voice = open_model(options)
    loaded = time.perf_counter()
    cold = time_stream(model, voice, options.text)
    time_stream(model, voice, options.text)  # all shapes of the text have run once
    streams = [time_stream(model, voice, options.text) for _ in range(options.requests)]
    whole = [time_whole(model, voice, options.text) for _ in range(options.requests)]
    return {
        "load_ms": (loaded - start) * 1e3,
        "cold_first_audio_ms": cold["first_audio_ms"],
        "cold_total_ms": cold["total_ms"],
        "streams": streams,
        "whole_ms": whole,
    }


def model_parser(description: str | None, text: str) -> argparse.ArgumentParser:
    """The options of `open_model`, and a text to speak."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="an export, or a model folder")
    parser.add_argument("--engine", choices=("litert", "jax"), default="litert")
    parser.add_argument("--voice", help="name of a voice; the model's default")
    parser.add_argument("--text", default=text)
    parser.add_argument("--threads", type=int, default=2, help="of the engine")
    return parser


def open_model(options: argparse.Namespace) -> "tuple[SpeechModel, VoiceState]":
    """The model behind either engine, and a voice."""
    model = _open(options.engine, options.model, options.threads)
    return model, model.get_state_for_audio_prompt(options.voice or model.default_voice())


def _open(engine: str, folder: Path, threads: int) -> "SpeechModel":
    if engine == "litert":
        from pocket_tts_jax.litert_speaker import LiteRTSpeaker

        return LiteRTSpeaker(folder, threads=threads)
    from pocket_tts_jax.threads import limit_threads

    limit_threads(threads)
    from pocket_tts_jax.model import TTSModel

    return TTSModel.load_model(model=folder)


def time_stream(model: "SpeechModel", voice: Any, text: str) -> dict[str, Any]:
    """One streaming request. Arrivals are those of each frame, in ms after the text."""
    start, arrivals, samples = time.perf_counter(), [], 0
    for frame in model.generate_audio_stream(voice, text, seed=SEED):
        arrivals.append((time.perf_counter() - start) * 1e3)
        samples += frame.size
    return {
        "first_audio_ms": arrivals[0],
        "total_ms": arrivals[-1],
        "audio_ms": samples / model.sample_rate * 1e3,
        "arrivals_ms": arrivals,
    }


def time_whole(model: "SpeechModel", voice: Any, text: str) -> float:
    """One synchronous request, in ms."""
    start = time.perf_counter()
    model.generate_audio(voice, text, seed=SEED)
    return (time.perf_counter() - start) * 1e3


def summarise(processes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Percentiles over the requests of all processes."""
    streams = [stream for process in processes for stream in process["streams"]]
    whole = [ms for process in processes for ms in process["whole_ms"]]
    gaps = np.concatenate([np.diff(stream["arrivals_ms"], prepend=0) for stream in streams])
    audio = float(np.median([stream["audio_ms"] for stream in streams]))
    waits = [head_start(stream["arrivals_ms"]) for stream in streams]
    return {
        "requests": len(streams),
        "processes": len(processes),
        "audio_ms": round(audio, 1),
        "cold": {
            "load_ms": percentiles([p["load_ms"] for p in processes]),
            "first_audio_ms": percentiles([p["cold_first_audio_ms"] for p in processes]),
            "sync_ms": percentiles([p["cold_total_ms"] for p in processes]),
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
    """How long after the first frame a player must start to never wait for the next."""
    due = arrivals[0] + np.arange(len(arrivals)) * frame_ms
    return float(max(0.0, np.max(np.asarray(arrivals) - due)))


def late_frames(arrivals: Sequence[float], frame_ms: float = FRAME_MS) -> int:
    """Frames that a player that starts with the first one has to wait for.

    A wait postpones all that follows: one delay counts once.
    """
    late, due = 0, arrivals[0]
    for arrival in arrivals:
        if arrival > due:
            late, due = late + 1, arrival
        due += frame_ms
    return late


def _parse() -> argparse.Namespace:
    parser = model_parser(__doc__, TEXT)
    parser.add_argument("--processes", type=int, default=3, help="cold starts")
    parser.add_argument("--requests", type=int, default=20, help="warm requests per process")
    parser.add_argument("--json", type=Path, help="also write the report here")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
