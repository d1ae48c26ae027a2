"""Measures the limits of this machine, memory and arithmetic, for a number of threads.

`python -m benchmarks.limits --threads N` prints them. `measure_limits` starts that as a process,
because the number of threads of a matrix product is fixed when a process starts.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

ARRAY_BYTES = 256 << 20  # much larger than the processor's caches
MATRIX = 1024
REPEATS = 7


@dataclass(frozen=True)
class Limits:
    """Best of `REPEATS`: GB/s (10⁹ bytes) read and copied (read plus written), GFLOP/s float32."""

    threads: int
    read_gb_s: float
    copy_gb_s: float
    matmul_gflop_s: float


def measure_limits(threads: int) -> Limits:
    """The limits with `threads` threads, in a new process."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    command = [sys.executable, "-m", "benchmarks.limits", "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return Limits(**json.loads(done.stdout))


def measure_here(threads: int, array_bytes: int = ARRAY_BYTES, matrix: int = MATRIX) -> Limits:
    """The limits in this process, whose matrix products must be set to `threads` already."""
    source = np.ones(array_bytes // 4, np.float32)
    target = np.empty_like(source)
    pieces = list(
        zip(np.array_split(source, threads), np.array_split(target, threads), strict=True)
    )
    a = np.ones((matrix, matrix), np.float32)
    with ThreadPoolExecutor(threads) as pool:
        read = best(lambda: list(pool.map(lambda p: p[0].max(), pieces)))
        copy = best(lambda: list(pool.map(lambda p: np.copyto(p[1], p[0]), pieces)))
    product = best(lambda: a @ a)
    return Limits(
        threads,
        round(source.nbytes / read / 1e9, 2),
        round(2 * source.nbytes / copy / 1e9, 2),
        round(2 * matrix**3 / product / 1e9, 1),
    )


def best(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Shortest time of `work`, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    print(json.dumps(asdict(measure_here(parser.parse_args().threads))))


if __name__ == "__main__":
    main()
