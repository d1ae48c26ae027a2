"""The commands `models`, `warmup` and `export`."""

import json
import math
import time
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from pocket_tts_jax.cli import options
from pocket_tts_jax.cli.console import command, say, set_logging
from pocket_tts_jax.errors import CheckpointError, ConfigError, ConfigNotFound

KYUTAI_LICENCE = "CC BY 4.0"


@dataclass(frozen=True)
class ListedModel:
    """A row of `models`. `size_bytes` is that of the file; None if it is not on this machine.

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
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash the files that are here, and list none.")
    ] = False,
) -> None:
    """List the models with their licences, and which of them are on this machine."""
    from pocket_tts_jax.config import available_configs

    if verify:
        _verify()
        return
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


def _verify() -> None:
    """Hash the packaged model and every cached file of the published ones."""
    from pocket_tts_jax.config import available_configs, load_config, packaged_config
    from pocket_tts_jax.files.hub import verify_cached
    from pocket_tts_jax.files.verify import verify_all
    from pocket_tts_jax.weights.source import EMBEDDED

    damaged = verify_all(EMBEDDED)
    whole = 0
    for name in available_configs():
        config = load_config(packaged_config(name))
        paths = (config.weights_path, config.weights_path_without_voice_cloning)
        for source in (*paths, config.flow_lm.lookup_table.tokenizer_path):
            found = None if source is None else verify_cached(source)
            whole += found is True
            damaged += [f"{source} was damaged and is removed"] if found is False else []
    if damaged:
        raise CheckpointError(". ".join(damaged) + ". Install this package or fetch them again.")
    say(f"The packaged model and {whole} cached files are whole.")


def _embedded() -> list[ListedModel]:
    """The model in this package, if this installation has it."""
    from pocket_tts_jax.config import load_config
    from pocket_tts_jax.weights.settings import ModelSettings
    from pocket_tts_jax.weights.source import EMBEDDED, WEIGHTS

    weights = EMBEDDED / WEIGHTS
    if not weights.is_file():
        return []
    cloning = "yes" if ModelSettings.read(EMBEDDED).has_voice_cloning else "no"
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
    engine: options.Engine = options.EngineName.auto,
    sampler_decode_steps: options.DecodeSteps = 1,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch a model and compile it into the cache, so that later starts are quick."""
    from pocket_tts_jax.tts_model import TTSModel

    set_logging(quiet)
    start = time.perf_counter()
    tts_model = TTSModel.load_model(
        language,
        config,
        sampler_decode_steps=sampler_decode_steps,
        model=model,
        engine=engine,
        offline=offline,
        on_notice=lambda line: say(line, quiet=quiet),
    )
    tts_model.warmup()
    took = time.perf_counter() - start
    say(f"Ready ({tts_model.engine.name}) after {took:.1f} s", quiet=quiet)


Precision = Annotated[
    str, typer.Option("--precision", help="fp32, fp16, int8, mixed or int4: see the docs.")
]

DecoderPrecision = Annotated[
    str, typer.Option("--decoder", help="fp32 or int8, for the decoder's wide convolutions.")
]


@command
def export(
    model: options.Model = None,
    language: options.Language = None,
    precision: Precision = "int8",
    decoder: DecoderPrecision = "fp32",
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Prepare a model for the fast engine (LiteRT). The export is kept in the user's cache.

    The model speaks with the export that was asked for last."""
    from pocket_tts_jax.open_model import ModelOptions
    from pocket_tts_jax.weights.source import WEIGHTS, open_source

    set_logging(quiet)
    wanted = ModelOptions(language=language, model=model).exported
    if wanted is None and model is not None:
        raise ConfigNotFound(
            f"There is no {WEIGHTS} in {model}: give the path of a model's folder. What was "
            "exported already needs no other export."
        )
    if wanted is None:
        raise ConfigError(
            "Name a model to export: --language for one of Kyutai's, or --model FOLDER with "
            "weights. The voice in this package needs no export."
        )
    found = wanted.path(precision, decoder)
    if found is not None and found in wanted.find():
        wanted.prefer(found)
    else:
        source = open_source(
            language=language,
            model=model,
            offline=offline,
            on_notice=lambda line: say(line, quiet=quiet),
        )
        say(f"Exporting {source.name} in {precision}; this takes some minutes.", quiet=quiet)
        found = wanted.make(precision, decoder, with_encoder=source.has_voice_cloning, quiet=quiet)
    say(f"{found}: `generate {wanted.option}` speaks with it from now on.", quiet=quiet)
