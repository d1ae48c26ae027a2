"""A first opening of a `.tflite` file in a process of its own, which may die of it.

LiteRT and XNNPACK end the process on some malformed graphs and where packed weights cannot be
written (a full disk, a quota, a limit of file sizes). No user's process may end that way.
"""

import logging
import multiprocessing.spawn
import os
import subprocess
import sys
from pathlib import Path

_log = logging.getLogger(__name__)
_TIMEOUT = 600.0
_LINES_SHOWN = 2
_RAISED = 1  # Python's exit code after an error


def survives(model: Path, weight_cache: str) -> bool | None:
    """Whether another process lived on after it opened `model`, packed its weights into
    `weight_cache` and ran every signature once. None where that process gave no answer: this
    program has no interpreter to start, or an error was raised, which an opening here raises too.
    """
    executable = multiprocessing.spawn.get_executable()
    if not executable or getattr(sys, "frozen", False):
        _log.info("%s is opened without a trial: there is no Python to start", model)
        return None
    command = [os.fsdecode(executable), "-P", "-m", __name__, str(model), weight_cache]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    except OSError as error:
        _log.info("%s is opened without a trial: %s", model, error)
        return None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-_LINES_SHOWN:]
        _log.info("A trial of %s ended with %s: %s", model, done.returncode, " ".join(said))
    if done.returncode == _RAISED:
        return None
    return done.returncode == 0


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
