"""Ctrl-C, SIGTERM and SIGHUP: what is being written is finished, and the command ends soon.

The command runs in a thread of its own. The main thread does nothing but wait for signals, so that
none is lost while modules are imported or held up while XLA compiles. Only the standard library is
imported here, because signals count from the first moment.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_PATIENCE = 0.8
"""Seconds that a command has to end by itself."""
_LONGER_PATIENCE = 10.0
"""Seconds for one that is writing at this moment."""
_FRAGILE = {"_frozen_importlib", "importlib", "jax", "jaxlib", "flax", "litert_converter"}
"""Packages whose C++ calls back into Python and ends the process at an unexpected exception there:
that of an extension module that is being imported, and a compiler's."""
_STACK = 64 << 20  # XLA's compiler recurses deeply; threads have 512 kB on macOS

stopping = threading.Event()
"""Set by the first signal."""
computing = threading.Event()
"""Set while the command waits for the model and touches no file."""
finish: Callable[[], None] | None = None
"""Finishes the file that the command has open; None where there is none."""
_instead: Callable[[], object] | None = None


class _Received(BaseException):
    """A signal, in the main thread."""

    def __init__(self, number: int) -> None:
        self.number = number


def run_until_signal(command: Callable[[], None], clean_up: Callable[[], None]) -> int | None:
    """Run `command` in a thread until it ends or a signal comes.

    Returns None where it ended by itself, else the exit code of the signal (130, 143 or 129).
    At the first signal `stopping` is set, for a command that writes a file; in another one
    KeyboardInterrupt is raised. The file of a command that is still computing a moment later is
    finished here. A second signal ends the waiting. `clean_up` is called for a command that did not
    end.
    """
    before = threading.stack_size(_STACK)
    ended = threading.Event()  # Thread.join takes an interrupted wait for the thread's end

    def run() -> None:
        try:
            command()
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="command", daemon=True)
    try:
        _catch_signals()
        thread.start()
        threading.stack_size(before)
        while not ended.wait(1.0 if os.name == "nt" else None):
            pass  # Windows delivers signals in between
        return None
    except _Received as received:
        stopping.set()
        try:
            if finish is None:
                # The interrupt may meet a callback that cannot raise, such as the garbage
                # collector's: Python would print a traceback of it.
                sys.unraisablehook = lambda _: None
                _interrupt(thread, ended)
            if not ended.wait(_PATIENCE) and finish is not None:
                _finish(ended)
        except _Received:
            pass
        if not ended.is_set():
            clean_up()
        return 128 + received.number


def _catch_signals() -> None:
    for name in _SIGNALS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _receive)


@contextlib.contextmanager
def handed_to(handle: Callable[[], object]) -> Iterator[None]:
    """Call `handle` for each signal meanwhile, in the main thread, and nothing else: for a command
    that ends by itself after it, such as the server."""
    global _instead
    _instead = handle
    try:
        yield
    finally:
        _instead = None


def _receive(number: int, _: FrameType | None) -> None:
    if (handle := _instead) is None:
        raise _Received(number)
    handle()


def _finish(ended: threading.Event) -> None:
    if computing.is_set() and finish is not None:
        finish()
    else:
        ended.wait(_LONGER_PATIENCE)


def _interrupt(thread: threading.Thread, ended: threading.Event) -> None:
    """Raise KeyboardInterrupt in another thread, once it is back from what it calls in C.

    A thread that does not come out of an import or a compilation in time is left alone.
    """
    if thread.ident is None:
        return
    limit = time.monotonic() + _PATIENCE
    while _is_fragile(thread.ident):
        if ended.wait(0.01) or time.monotonic() > limit:
            return
    identifier = ctypes.c_ulong(thread.ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(identifier, ctypes.py_object(KeyboardInterrupt))


def _is_fragile(identifier: int) -> bool:
    frame = sys._current_frames().get(identifier)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _FRAGILE:
            return True
        frame = frame.f_back
    return False
