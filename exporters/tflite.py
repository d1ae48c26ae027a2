"""Export a model to LiteRT: `python -m exporters.tflite --model FOLDER --out DIR`.

The folder appears only after everything in it has been compared with JAX. `--check DIR` checks a
folder again.
"""

import secrets
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from exporters.build import MAX_FRAMES, Export, Options
from exporters.convert.quantize import DECODERS, PRECISIONS
from exporters.gate import report
from exporters.graph.signatures import BATCHES
from exporters.phone import make_bundle
from pocket_tts_jax.errors import ConfigError, TTSError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="A name (english), or a folder with weights.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to make.")] = None,
    precision: Annotated[str, typer.Option(help=" | ".join(PRECISIONS))] = "int8",
    decoder: Annotated[
        str, typer.Option(help=f"{' | '.join(DECODERS)}: of the decoder's wide convolutions.")
    ] = "fp32",
    max_frames: Annotated[
        int, typer.Option(help="Positions of the cache: voice + text + spoken frames.")
    ] = MAX_FRAMES,
    voices: Annotated[
        list[str] | None, typer.Option(help="Names or files of voices; all of the model's.")
    ] = None,
    with_encoder: Annotated[bool, typer.Option(help="Also export voice cloning.")] = False,
    one_stream: Annotated[
        bool, typer.Option(help="Leave out the steps that speak several chunks at once (phones).")
    ] = False,
    ios: Annotated[
        Path | None, typer.Option(help="Make what an app bundles instead: int8 and int4, notes.")
    ] = None,
    via: Annotated[str, typer.Option(help="litert | jax2tf")] = "litert",
    check: Annotated[
        Path | None, typer.Option(help="Validate a folder instead; with --model, against it.")
    ] = None,
) -> None:
    """Export, or validate an export."""
    try:
        if check is not None:
            from exporters.gate.recheck import check_folder

            _refuse_other_options(context, "check", "model")
            failed = check_folder(check, model)
        elif ios is not None:
            _refuse_other_options(
                context, "ios", "model", "max_frames", "voices", "with_encoder", "decoder"
            )
            options = Options(
                "int8", max_frames, tuple(voices or ()), with_encoder, decoder=decoder
            )
            failed = make_bundle(model, ios, options, export)
        else:
            if out is None:
                raise ConfigError("Say where to: --out DIR (or --check DIR to validate one).")
            options = Options(
                *(precision, max_frames, tuple(voices or ()), with_encoder, via),
                batches=() if one_stream else BATCHES,
                decoder=decoder,
            )
            failed = export(model, out, options)
    except TTSError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    if failed:
        sys.exit(1)


def _refuse_other_options(context: typer.Context, mode: str, *allowed: str) -> None:
    def written(name: str) -> str:
        return f"--{name.replace('_', '-')}"

    for name in context.params:
        source = context.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        if given and name not in (mode, *allowed):
            raise ConfigError(
                f"{written(mode)} takes {', '.join(map(written, allowed))} alone: leave out "
                f"{written(name)}."
            )


def export(model: str | None, out: Path, options: Options) -> list[Any]:
    """Make the folder `out`. Returns the checks that failed; with any, there is no folder."""
    if out.exists():
        raise ConfigError(f"{out} exists. Choose another folder, or remove it first.")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    aside.mkdir()
    try:
        checks = Export(model, options, aside).run()
        typer.echo(report.summary(checks))
        failed = [check for check in checks if not check.passed]
        if not failed:
            aside.rename(out)
        return failed
    finally:
        shutil.rmtree(aside, ignore_errors=True)


if __name__ == "__main__":
    app()
