"""Messages and exit codes of the commands: on stderr, one line per error.

0: done (also when the reader of a pipe has had enough). 1: something the user can mend, as one
line. 2: wrong usage. 130, 143 or 129: interrupted (see `cli.signals`).
"""

import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from pocket_tts_jax.errors import TTSError

USER_ERROR = 1
INTERRUPTED = 130
_PACKAGE = "pocket_tts_jax"


def stderr() -> Console:
    """A console on the current stderr; a new one each time, because tests and shells replace it."""
    return Console(stderr=True, highlight=False)


def set_logging(quiet: bool) -> None:
    """Warnings, and notices of downloads, as lines on stderr; errors alone when `quiet`."""
    if quiet:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        _silence_libraries()
    logger = logging.getLogger(_PACKAGE)
    handler = RichHandler(
        console=stderr(), show_time=False, show_path=False, show_level=True, markup=False
    )
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.ERROR if quiet else logging.WARNING)
    logging.getLogger(f"{_PACKAGE}.files.hub").setLevel(logging.ERROR if quiet else logging.INFO)


def _silence_libraries() -> None:
    """LiteRT's C code writes lines to the descriptor 2: keep that for Python's own messages."""
    try:
        if sys.stderr.fileno() != 2:
            return
    except (AttributeError, OSError, ValueError):  # closed, or a test's
        return
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    _to_nothing(2)


def say(text: str, *, quiet: bool = False) -> None:
    """One line for the person at the terminal."""
    if not quiet:
        stderr().print(Text(text), soft_wrap=True)


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function a command: its errors become a line on stderr and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except BrokenPipeError:
            _forget_stdout()
        except MemoryError:
            message = "There is too little memory: close other programs, or use a smaller model."
            raise _told(message) from None
        except (TTSError, OSError) as error:  # a full disk may show anywhere
            raise _told(str(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    return run


def _told(message: str) -> typer.Exit:
    """The end of a command whose error is told by this."""
    line = Text("Error: ", style="bold red") + Text(message, style="default")
    stderr().print(line, soft_wrap=True)
    return typer.Exit(USER_ERROR)


def _forget_stdout() -> None:
    """Prevent Python's error message at exit about a closed pipe."""
    if sys.stdout is None:
        return
    try:
        place = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    _to_nothing(place)


def _to_nothing(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
