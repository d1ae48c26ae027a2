"""`pocket-tts-jax`: the commands. Heavy imports happen inside the command that needs them."""

from typing import Annotated

import typer

from pocket_tts_jax import __version__
from pocket_tts_jax.cli.book import book
from pocket_tts_jax.cli.generate import generate
from pocket_tts_jax.cli.models import export, models, warmup
from pocket_tts_jax.cli.serve import serve
from pocket_tts_jax.cli.synthesize import SynthesizeCommand, synthesize
from pocket_tts_jax.cli.voices import export_voice, voices

app = typer.Typer(
    name="pocket-tts-jax",
    help="Pocket TTS in JAX and LiteRT: text to speech on a CPU.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 an error with a line that says what to do, 2 wrong usage, "
    "130, 143 or 129 interrupted (Ctrl-C, SIGTERM, SIGHUP).",
)
app.command()(generate)
app.command()(serve)
app.command()(book)
app.command(cls=SynthesizeCommand)(synthesize)
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
