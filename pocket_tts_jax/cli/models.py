"""The commands `models` and `warmup`."""

import json
import math
import time
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from pocket_tts_jax.cli import options
from pocket_tts_jax.cli.console import command, say, set_logging

KYUTAI_LICENCE = "CC BY 4.0"


@dataclass(frozen=True)
class ListedModel:
    """A row of `models`. `size_bytes` is that of the file, None while it is not here.

    `voice_cloning`: "yes", "no", or "gated" (after the terms were accepted on the Hub).
    """

    name: str
    source: str
    parameters: int
    voice_cloning: str
    licence: str
    on_this_machine: bool
    size_bytes: int | None


@command
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models there are, what they may be used for, and which are on this machine."""
    from pocket_tts_jax.config import available_configs

    rows = _embedded() + [_published(name) for name in available_configs()]
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "parameters", "voice cloning", "licence", "here", box=None)
    for row in rows:
        here = "" if row.size_bytes is None else f"{row.size_bytes / 1e6:.0f} MB"
        parameters = f"{row.parameters / 1e6:.1f} M"
        table.add_row(row.name, parameters, row.voice_cloning, row.licence, here)
    Console().print(table)


def _embedded() -> list[ListedModel]:
    """The voice in this package, if this installation has it."""
    from pocket_tts_jax.config import load_config
    from pocket_tts_jax.weights.source import EMBEDDED, WEIGHTS, Sidecar

    weights = EMBEDDED / WEIGHTS
    if not weights.is_file():
        return []
    cloning = "yes" if Sidecar.read(EMBEDDED).has_voice_cloning else "no"
    count = _parameters(load_config(EMBEDDED / "config.yaml"))
    size = weights.stat().st_size
    return [ListedModel("embedded", str(EMBEDDED), count, cloning, "CC0 1.0", True, size)]


def _published(name: str) -> ListedModel:
    from pocket_tts_jax.config import load_config, packaged_config
    from pocket_tts_jax.files.hub import cached

    config = load_config(packaged_config(name))
    full, fallback = config.weights_path, config.weights_path_without_voice_cloning
    sources = [source for source in (full, fallback) if source is not None]
    found = next((path for source in sources if (path := cached(source)) is not None), None)
    return ListedModel(
        name=name,
        source=sources[0] if sources else "",
        parameters=_parameters(config),
        voice_cloning="yes" if fallback is None else "gated",
        licence=KYUTAI_LICENCE,
        on_this_machine=found is not None,
        size_bytes=None if found is None else found.stat().st_size,
    )


def _parameters(config: object) -> int:
    from pocket_tts_jax.weights.expected import parameter_shapes

    return sum(math.prod(shape) for shape in parameter_shapes(config).values())  # type: ignore[arg-type]


@command
def warmup(
    model: options.Model = None,
    language: options.Language = None,
    config: options.ConfigFile = None,
    engine: options.Engine = None,
    sampler_decode_steps: options.DecodeSteps = 1,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch a model and compile it into the cache, so that later starts are quick."""
    from pocket_tts_jax import open_model as speaker

    set_logging(quiet)
    start = time.perf_counter()
    choice = speaker.ModelChoice(
        language=language,
        config=config,
        model=model,
        engine=engine,
        sampler_decode_steps=sampler_decode_steps,
        offline=offline,
    )
    name, opened = speaker.open_speaker(choice, lambda text: say(text, quiet=quiet))
    opened.warmup()
    say(f"Ready ({name}) after {time.perf_counter() - start:.1f} s", quiet=quiet)
