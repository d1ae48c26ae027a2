"""The line "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", kept from standard error.

TFLite's C library writes it once a process, straight to the descriptor, and has no switch for it.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_first = threading.Lock()  # is never released: the line comes once


@contextmanager
def without_greeting() -> Iterator[None]:
    """Load the first model of the process in this: the C library's INFO lines are dropped, and
    all else that is written to standard error meanwhile comes at the end."""
    if not _first.acquire(blocking=False):
        yield
        return
    try:
        kept, file = os.dup(_STDERR), tempfile.TemporaryFile()
    except OSError:  # closed before the start, or no file can be written: nothing is held back
        yield
        return
    with file as held:
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not line.startswith(b"INFO: "):
                    os.write(_STDERR, line)
