"""Checks many requests in one process: `python -m benchmarks.soak --model FOLDER`.

- memory: many syntheses in one process; resident memory per request after a warm-up, as the
  slope of a straight line, and whether the last result is the first one;
- threads: distinct seeds in parallel, each equal to its serial run;
- cancel: streams closed or stopped in the middle, the next call right each time;
- full batch: the same while the other places of the batch speak: each of them is its serial run.

Exits with 1 where one of them fails. Counts are options: the defaults take minutes. A model whose
own temperature is 0 speaks alike for all seeds: only `--temperature` tells its sessions apart.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.app import model_parser, open_model
from benchmarks.texts import BATCH_TEXT
from benchmarks.worker import peak_memory

if TYPE_CHECKING:
    from pocket_tts_jax.tts_model import TTSModel

SLOPE_LIMIT_KB = 50.0
# An allocator grows in steps: over a few dozen syntheses they dominate the slope.
ALLOCATOR_MB = 4.0
CANCEL_AFTER = (1, 2, 5, 9)  # frames
MOST_FRAMES_AFTER_STOP = 2
SEED = 7


def main() -> None:
    options = parse()
    model, voice = open_model(options, options.temperature)

    def speak(seed: int) -> np.ndarray:
        return model.generate_audio(voice, options.text, seed=seed)

    report: dict[str, Any] = {
        "memory": memory(speak, options.syntheses),
        "threads": parallel(speak, options.parallel, noisy=model.temp > 0),
        "cancel": cancel(model, voice, options.text, options.cancels),
    }
    if options.engine == "litert":
        report["full_batch"] = full_batch(model, voice, options.text, options.cancels)
    report["passed"] = all(part["passed"] for part in report.values())
    print(json.dumps(report, indent=1))
    sys.exit(0 if report["passed"] else 1)


def memory(
    speak: Callable[[int], np.ndarray],
    count: int,
    resident: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """Slope of resident memory over `count` syntheses of one seed, the first fifth aside."""
    resident = resident or resident_kb
    first, sizes, drifted = speak(SEED), [], 0
    for _ in range(count):
        drifted += not np.array_equal(speak(SEED), first)
        sizes.append(resident())
    settled = np.asarray(sizes[count // 5 :])
    slope = float(np.polyfit(np.arange(settled.size), settled, 1)[0])
    growth = float(settled[-1] - settled[0]) / 1e3
    return {
        "syntheses": count,
        "slope_kb": round(slope, 3),
        "limit_kb": SLOPE_LIMIT_KB,
        "growth_mb": round(growth, 2),
        "end_mb": round(sizes[-1] / 1e3, 1),
        "different_outputs": drifted,
        "passed": (slope < SLOPE_LIMIT_KB or growth < ALLOCATOR_MB) and drifted == 0,
    }


def parallel(speak: Callable[[int], np.ndarray], count: int, noisy: bool = True) -> dict[str, Any]:
    """Speak `count` seeds in parallel, and compare with the same seeds in turn. Without noise
    (`noisy` False: temperature 0) all seeds give the same speech."""
    serial = [speak(seed) for seed in range(count)]
    with ThreadPoolExecutor(count) as pool:
        at_once = list(pool.map(speak, range(count)))
    equal = [np.array_equal(a, b) for a, b in zip(serial, at_once, strict=True)]
    distinct = len({audio.tobytes() for audio in serial})
    return {
        "threads": count,
        "equal": sum(equal),
        "distinct": distinct,
        "passed": all(equal) and distinct == (count if noisy else 1),
    }


def cancel(model: "TTSModel", voice: Any, text: str, count: int) -> dict[str, Any]:
    """Stop `count` streams in the middle, by closing and by the event in turn."""
    expected = model.generate_audio(voice, text, seed=SEED)
    wrong, late, slowest = 0, 0, 0.0
    for i in range(count):
        frames, stop = CANCEL_AFTER[i % len(CANCEL_AFTER)], threading.Event()
        stream = model.generate_audio_stream(voice, text, seed=SEED + 1 + i, stop=stop)
        for _ in range(frames):
            next(stream)
        start = time.perf_counter()
        if i % 2:
            stop.set()
            late += sum(1 for _ in stream) > MOST_FRAMES_AFTER_STOP
        else:
            stream.close()
        slowest = max(slowest, time.perf_counter() - start)
        wrong += not np.array_equal(model.generate_audio(voice, text, seed=SEED), expected)
    return {
        "cancelled": count,
        "frames_after_stop_above_limit": late,
        "slowest_stop_ms": round(slowest * 1e3, 1),
        "wrong_next_calls": wrong,
        "passed": wrong == 0 and late == 0,
    }


def full_batch(model: "TTSModel", voice: Any, text: str, count: int) -> dict[str, Any]:
    """Stop `count` streams in the middle, half of a full batch in each round. The other half must
    speak as they do alone: exactly, because every step is computed with the whole batch."""
    places = model.engine.compute_whole_batches()  # type: ignore[attr-defined]
    staying = places // 2

    def whole(seed: int) -> np.ndarray:
        return model.generate_audio(voice, text, seed=seed)

    def stopped(number: int) -> None:
        stream = model.generate_audio_stream(voice, text, seed=SEED + number)
        for _ in range(CANCEL_AFTER[number % len(CANCEL_AFTER)]):
            next(stream)
        stream.close()

    expected, wrong, sizes = [whole(seed) for seed in range(staying)], 0, []
    with ThreadPoolExecutor(places) as pool:
        for begin in range(0, count, places - staying):
            ends = min(begin + places - staying, count)
            cancels = [pool.submit(stopped, number) for number in range(begin, ends)]
            spoken = list(pool.map(whole, range(staying)))
            for cancel in cancels:
                cancel.result()
            wrong += sum(not np.array_equal(a, b) for a, b in zip(spoken, expected, strict=True))
            sizes.append(resident_kb())
    settled = sizes[len(sizes) // 5 :]
    growth = (settled[-1] - settled[0]) / 1e3
    return {
        "places": places,
        "cancelled": count,
        "wrong_neighbours": wrong,
        "growth_mb": round(growth, 2),
        "passed": wrong == 0 and growth < ALLOCATOR_MB,
    }


def resident_kb() -> float:
    """Resident memory of this process in KB (10³ bytes). On systems without that figure, the
    largest so far, which a leak increases too."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e3
    return peak_memory() * 1e3


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = model_parser(__doc__, BATCH_TEXT)
    parser.add_argument("--temperature", type=float, help="of the noise; the model's own")
    parser.add_argument("--syntheses", type=int, default=500)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--cancels", type=int, default=200)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
