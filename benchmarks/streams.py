"""Many streams in one process: how fast each of them speaks beside the others.

The process opens an engine, warms it up, says "ready" and waits for a line. Then all streams begin
at once, each in its own thread. The answer is a line of JSON for each line that was read: for each
stream the times at which its frames came, in seconds of the clock that all processes share.
`throughput` starts such processes.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.child import engine_parser, take_stdout
from benchmarks.engines import Speak, frame_times, import_engine, open_engine, warm_up


def main() -> None:
    parser = engine_parser(__doc__)
    parser.add_argument("--workers", type=int, default=0, help="of our engine")
    options = parser.parse_args()
    answers = take_stdout()
    import_engine(options.engine)
    engine = options.engine, options.precision, options.threads, options.folder
    speak = open_engine(*engine, options.workers)
    warm_up(speak(options.text))
    print("ready", file=answers)
    for line in sys.stdin:
        print(json.dumps(speak_at_once(speak, options.text, int(line))), file=answers)
    answers.flush()
    os._exit(0)  # do not wait for threads of an engine; its workers end with the process


def speak_at_once(speak: Speak, text: str, streams: int) -> list[list[float]]:
    """The times of each stream: its begin, then that of each frame."""

    def one(_: int) -> list[float]:
        begin = time.perf_counter()
        return [begin, *frame_times(speak(text))[0]]

    with ThreadPoolExecutor(max(streams, 1)) as pool:
        return list(pool.map(one, range(streams)))


if __name__ == "__main__":
    main()
