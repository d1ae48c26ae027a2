"""Runs a measurement in a process of its own: `ask` in the parent, `answer` in the child.

Only the standard library is imported here, because a child may time its imports.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO


def engine_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that name one engine, its model and a text."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--text", required=True)
    return parser


def take_stdout() -> TextIO:
    """Standard output for the results alone: what an engine prints goes to standard error."""
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return results


def answer(measure: Callable[[], Any]) -> NoReturn:
    """Measure, print the result as the one line of JSON on stdout, and end the process."""
    result_file = take_stdout()
    json.dump(measure(), result_file)
    result_file.flush()
    os._exit(0)  # do not wait for threads of an engine


def ask(
    module: str,
    arguments: Sequence[object],
    what: object,
    *,
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> dict[str, Any]:
    """The answer of `python -m module arguments`. Raises RuntimeError with its output if it fails;
    `what` names the measurement in the message."""
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
