"""Opens a `.tflite` file for the first time in a separate process.

LiteRT and XNNPACK end the process on some malformed graphs, and when packed weights cannot be
written (a full disk, a quota, a limit of file sizes). That must not happen in the user's process.
"""

import logging
import os
import sys
import time
from pathlib import Path

_log = logging.getLogger(__name__)
_TIMEOUT = 600.0
_POLL = 0.2
_RAISED = 1  # Python's exit code after an error


def survives(model: Path, weight_cache: str) -> bool | None:
    """Whether a separate process could open `model`, pack its weights into `weight_cache` and run
    every signature once. None if it gave no answer: this program has no interpreter to start, or
    an error was raised, which opening the file here raises too.
    """
    import multiprocessing.spawn  # here, because every program imports this module

    executable = multiprocessing.spawn.get_executable()
    if not executable or getattr(sys, "frozen", False):
        _log.info("%s is opened without a trial: there is no Python to start", model)
        return None
    command = [os.fsdecode(executable), "-P", "-m", __name__, str(model), weight_cache]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        code = _wait(command, environment)
    except OSError as error:
        _log.info("%s is opened without a trial: %s", model, error)
        return None
    if code != 0:
        _log.info("A trial of %s ended with %s", model, code)
    return None if code == _RAISED else code == 0


def _wait(command: list[str], environment: dict[str, str]) -> int:
    """The exit code of a process, which does not outlive an interruption here."""
    import subprocess

    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, env=environment, stdin=quiet, stdout=quiet, stderr=quiet
    ) as child:
        try:
            end = time.monotonic() + _TIMEOUT
            while time.monotonic() < end:
                try:
                    return child.wait(_POLL)
                except subprocess.TimeoutExpired:  # lets KeyboardInterrupt be raised in between
                    continue
        finally:
            child.kill()
    return -1


def _try(model: Path, weight_cache: str) -> None:
    from pocket_tts_jax.litert_engine.runtime import LiteRTModel

    opened = LiteRTModel(model, threads=1, weight_cache=weight_cache)
    for name in opened.signatures:
        opened.bind(name)()


def _without_core_files() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _without_core_files()
    _try(Path(sys.argv[1]), sys.argv[2])
    os._exit(0)
