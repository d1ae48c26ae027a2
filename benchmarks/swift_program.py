"""The Swift package's program, `pocket-tts bench`, measured from outside: it is a process of its
own, with none of Python's memory."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.engines import NEVER_ENDS, PROGRAM, SEED, VOICE


def measure(
    precision: str, threads: int, folder: Path, text: str, warm_up_frames: int
) -> dict[str, Any]:
    """One process: loading, the first frames of a text, then the whole text. See `compare`."""
    options = {
        "--model": folder / "exports" / precision,
        "--voice": VOICE,
        "--seed": SEED,
        "--threads": threads,
        "--warm-up": warm_up_frames,
        "--eos-threshold": NEVER_ENDS,
    }
    command = [str(word) for option in options.items() for word in option]
    start = time.perf_counter()
    with subprocess.Popen(
        [PROGRAM, "bench", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        loaded = _line(process)
        ready = time.perf_counter() - start
        cold = _ask(process, text)
        warm = _ask(process, text)
        assert process.stdin is not None
        process.stdin.close()
    arrivals = [round(1e3 * seconds, 2) for seconds in warm["arrivals"]]
    return {
        "import_s": ready - loaded["load"],  # of the program's code
        "load_s": loaded["load"],
        "cold_first_audio_ms": 1e3 * cold["arrivals"][0],
        "start_s": ready + cold["arrivals"][0],
        "peak_rss_mb": warm["peak_memory"] / 1e6,
        "rtf": warm["speech"] / warm["seconds"],
        "first_audio_ms": arrivals[0],
        "audio_s": warm["speech"],
        "cpu_s_per_audio_s": warm["cpu"] / warm["speech"],
        "arrivals_ms": arrivals,
    }


def _ask(process: subprocess.Popen[str], text: str) -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write(text.replace("\n", " ") + "\n")
    process.stdin.flush()
    return _line(process)


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        said = process.stderr.read().strip()[-500:]
        raise RuntimeError(f"{PROGRAM} ended with status {process.wait()}: {said}")
    return json.loads(line)
