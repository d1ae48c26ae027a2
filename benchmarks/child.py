"""A measurement in a process of its own: what the child answers, and how its parent asks.

Nothing is imported that Python does not bring along: a child may time its imports.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn


def answer(measure: Callable[[], Any]) -> NoReturn:
    """Measure, print the result as the one line of JSON on stdout, and end the process."""
    result_file = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an engine prints must not get between
    json.dump(measure(), result_file)
    result_file.flush()
    os._exit(0)  # threads of an engine that is done with must not hold the process


def ask(
    module: str,
    arguments: Sequence[object],
    what: object,
    *,
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> dict[str, Any]:
    """What `python -m module arguments` answers. RuntimeError with what it printed where it, or
    `what` it measures, failed."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=limit_s,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"{what} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)
