"""`python -m pocket_tts_jax` and the command `pocket-tts-jax`."""

import os
import sys
import threading
from contextlib import suppress

from pocket_tts_jax.cli.signals import run_until_signal


def main() -> None:
    """Run a command and leave. Python's own way out stops threads that are inside XLA, and that
    aborts the process now and then."""
    codes: list[object] = []
    signalled = run_until_signal(lambda: codes.append(_run()), _remove_unfinished)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed before the start
        with suppress(OSError, ValueError):  # nobody may read it any more
            stream.flush()
    code = codes[0] if codes else 1
    if signalled is not None:
        code = signalled
    elif code == 0:  # what is compiled in the background is kept for the next time
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread():
                thread.join()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _run() -> object:
    """The exit code of the command."""
    try:
        from pocket_tts_jax.cli.app import app

        app(prog_name="pocket-tts-jax")
    except SystemExit as ended:
        return 0 if ended.code is None else ended.code
    except KeyboardInterrupt:  # while this was being imported
        return 1
    return 0


def _remove_unfinished() -> None:
    from pocket_tts_jax.files.atomic import remove_unfinished

    remove_unfinished()


if __name__ == "__main__":
    main()
