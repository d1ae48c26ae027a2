"""`pocket-tts-jax`: the commands. Heavy imports happen inside the command that needs them."""

import os
import sys
import threading
from contextlib import suppress
from typing import Annotated

import typer

from pocket_tts_jax import __version__
from pocket_tts_jax.cli.book import book
from pocket_tts_jax.cli.generate import generate
from pocket_tts_jax.cli.models import export, models, warmup
from pocket_tts_jax.cli.voices import export_voice, voices

app = typer.Typer(
    name="pocket-tts-jax",
    help="Pocket TTS in JAX and LiteRT: text to speech on a CPU.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 an error with a line that says what to do, 2 wrong usage, "
    "130 interrupted.",
)
app.command()(generate)
app.command()(book)
app.command()(export_voice)
app.command()(voices)
app.command()(models)
app.command()(warmup)
app.command()(export)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Pocket TTS in JAX and LiteRT: text to speech on a CPU."""


def main() -> None:
    """Run a command and end the process. Python's own exit stops threads inside XLA, which
    sometimes aborts the process."""
    code: object = 0
    try:
        app(prog_name="pocket-tts-jax")
    except SystemExit as ended:
        code = ended.code
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed before the start
        with suppress(OSError, ValueError):  # its reader may have ended
            stream.flush()
    if code == 0:  # wait for code that is compiled in the background: it is kept
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread():
                thread.join()
    os._exit(code if isinstance(code, int) else int(code is not None))
