"""Many streams in one process: how fast each of them speaks beside the others.

The process opens an engine, warms it up, says "ready" and waits for a line. Then all streams begin
at once, each in its own thread. The answer is a line of JSON for each line that was read: for each
stream the times at which its frames came, in seconds of the clock that all processes share.
`throughput` starts such processes.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.engines import Speak, import_engine, open_engine, take_frames

FRAME_SIZE = 1920
WARM_UP_FRAMES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--text", required=True)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keep an engine's own output out of the answers
    import_engine(options.engine)
    speak = open_engine(options.engine, options.precision, options.threads, options.folder)
    take_frames(speak(options.text), WARM_UP_FRAMES, FRAME_SIZE)
    print("ready", file=answers)
    for line in sys.stdin:
        print(json.dumps(speak_at_once(speak, options.text, int(line))), file=answers)
    answers.flush()
    os._exit(0)  # do not wait for threads of an engine


def speak_at_once(speak: Speak, text: str, streams: int) -> list[list[float]]:
    """The times of each stream: its begin, then that of each frame."""

    def one(_: int) -> list[float]:
        times, samples = [time.monotonic()], 0
        for piece in speak(text):
            samples += piece.size
            now = time.monotonic()
            times += [now] * (samples // FRAME_SIZE - (len(times) - 1))
        return times

    with ThreadPoolExecutor(max(streams, 1)) as pool:
        return list(pool.map(one, range(streams)))


if __name__ == "__main__":
    main()
