"""Measures one engine once, in a process of its own; the result is one line of JSON.

In order: import, load (model and voice), the first audio of the process and 15 more frames to warm
up, then one whole text. Peak memory is that of the whole process.
"""

import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import engines, swift_program
from benchmarks.child import answer, engine_parser

SAMPLE_RATE = 24_000


def main() -> None:
    parser = engine_parser(__doc__)
    parser.add_argument("--batch", type=int, default=1)
    a = parser.parse_args()
    if a.batch > 1:
        answer(lambda: measure_batch(a.threads, a.folder, a.text, a.batch))
    answer(lambda: measure(a.engine, a.precision, a.threads, a.folder, a.text))


def measure(engine: str, precision: str, threads: int, folder: Path, text: str) -> dict[str, Any]:
    """Seconds, milliseconds and MB (10⁶ bytes) of one run; see `compare` for the fields."""
    if engine == engines.SWIFT:
        return swift_program.measure(precision, threads, folder, text, engines.WARM_UP_FRAMES)
    if engine == "pocket_tts_jax.jax":
        _limit_jax(threads)
    start = time.perf_counter()
    engines.import_engine(engine)
    imported = time.perf_counter()
    speak = engines.open_engine(engine, precision, threads, folder)
    loaded = time.perf_counter()
    pieces = speak(text)
    next(pieces)
    first = time.perf_counter()
    engines.warm_up(pieces)
    timed = time_text(speak, text)
    return {
        "import_s": imported - start,
        "load_s": loaded - imported,
        "cold_first_audio_ms": (first - loaded) * 1e3,
        "start_s": first - start,
        "peak_rss_mb": peak_memory(),
    } | timed


def _limit_jax(threads: int) -> None:
    """Limit JAX's threads. Must come before JAX is imported."""
    from pocket_tts_jax.jax_engine.setup import limit_threads

    limit_threads(threads)


def time_text(speak: engines.Speak, text: str) -> dict[str, Any]:
    """Time one text from start to end. `arrivals_ms` has the time of each frame."""
    cpu, start = time.process_time(), time.perf_counter()
    times, samples = engines.frame_times(speak(text))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    audio = samples / SAMPLE_RATE
    arrivals = [round((moment - start) * 1e3, 2) for moment in times]
    return {
        "rtf": audio / wall,
        "first_audio_ms": arrivals[0],
        "audio_s": audio,
        "cpu_s_per_audio_s": cpu / audio,
        "arrivals_ms": arrivals,
    }


def measure_batch(threads: int, folder: Path, text: str, rows: int) -> dict[str, Any]:
    """Time `rows` texts at once. The first audio is the whole result."""
    _limit_jax(threads)
    start = time.perf_counter()
    engines.import_engine("pocket_tts_jax.jax")
    imported = time.perf_counter()
    speak = engines.open_batch(folder, rows)
    loaded = time.perf_counter()
    speak(text)
    first = time.perf_counter()
    cpu = time.process_time()
    audio = sum(row.size for row in speak(text)) / SAMPLE_RATE
    wall, cpu = time.perf_counter() - first, time.process_time() - cpu
    return {
        "import_s": imported - start,
        "load_s": loaded - imported,
        "cold_first_audio_ms": (first - loaded) * 1e3,
        "start_s": first - start,
        "peak_rss_mb": peak_memory(),
        "rtf": audio / wall,
        "first_audio_ms": wall * 1e3,
        "audio_s": audio,
        "cpu_s_per_audio_s": cpu / audio,
        "arrivals_ms": [],
    }


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB (10⁶ bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    main()
