"""The commands `voices` and `export-voice`."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pocket_tts_jax.cli import options
from pocket_tts_jax.cli.console import command, say, set_logging
from pocket_tts_jax.cli.defaults import language_for
from pocket_tts_jax.errors import ConfigError, VoiceError
from pocket_tts_jax.files.hub import cached, is_remote, resolve
from pocket_tts_jax.voice.published import PREDEFINED, PredefinedVoice, predefined_voice

_RECORDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus")


@dataclass(frozen=True)
class ListedVoice:
    """A row of `voices`. `model` is the voice's model; `on_this_machine` is about its file."""

    name: str
    model: str
    language: str | None
    licence: str
    commercial_use: bool | None
    on_this_machine: bool


@command
def voices(
    model: options.Model = None,
    language: options.Language = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List voices: those in a model's folder (by default this package's), and Kyutai's."""
    if model is not None and language is not None:
        raise ConfigError("--model and --language name two models: give one of them.")
    rows = _published(language) if model is None else []
    if language is None:
        rows = _in_folder(model) + rows
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "model", "language", "licence", "here", box=None)
    for row in rows:
        here = "yes" if row.on_this_machine else ""
        table.add_row(row.name, row.model, row.language or "", row.licence, here)
    Console().print(table)


def _in_folder(model: str | None) -> list[ListedVoice]:
    from pocket_tts_jax.weights.source import EMBEDDED

    folder = EMBEDDED if model is None else Path(model).expanduser()
    folder = folder.parent if folder.is_file() else folder
    if model is not None and not folder.is_dir():
        raise ConfigError(f"There is no model at {model}: give the path of a model's folder.")
    name = "embedded" if folder == EMBEDDED else folder.name
    licence = "CC0 1.0" if folder == EMBEDDED else "see the model's folder"
    commercial = True if folder == EMBEDDED else None
    files = sorted((folder / "voices").glob("*.safetensors"))
    return [ListedVoice(file.stem, name, None, licence, commercial, True) for file in files]


def _published(language: str | None) -> list[ListedVoice]:
    """Kyutai's voices for one of its models, by default `english`."""
    from pocket_tts_jax.config import packaged_config

    model = packaged_config(language or "english").stem
    return [_published_row(model, voice) for voice in PREDEFINED.values()]


def _published_row(model: str, voice: PredefinedVoice) -> ListedVoice:
    here = cached(predefined_voice(model, voice.name)) is not None
    return ListedVoice(voice.name, model, voice.language, voice.licence, voice.commercial_use, here)


@command
def export_voice(
    audio_path: Annotated[
        str,
        typer.Argument(
            help="Recording (path, https:// or hf://), a folder of them, or a voice by its name."
        ),
    ],
    export_path: Annotated[Path, typer.Argument(help="Voice file to write, or a folder.")],
    model: options.Model = None,
    language: options.Language = None,
    config: options.ConfigFile = None,
    engine: options.Engine = options.EngineName.auto,
    truncate: options.Truncate = True,
    pitch: Annotated[
        float, typer.Option("--pitch", help="Factor of the voice's pitch, 0.5 to 3.")
    ] = 1.0,
    formants: Annotated[
        float,
        typer.Option(
            "--formants",
            help="Factor of the voice's formants, 0.5 to 3: above 1 for a smaller speaker.",
        ),
    ] = 1.0,
    pace: Annotated[
        float, typer.Option("--pace", help="Factor of the voice's pace, 0.5 to 3.")
    ] = 1.0,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Encode recordings as voice files (.safetensors), which load quickly.

    --pitch, --formants and --pace make another voice of a recording or of a known voice.
    """
    from pocket_tts_jax.audio.timbre import Timbre
    from pocket_tts_jax.tts_model import TTSModel
    from pocket_tts_jax.voice.state import write_voice

    set_logging(quiet)
    factors = Timbre(pitch, formants, pace)  # refuses impossible ones before the model is loaded
    jobs, notice = _jobs(audio_path, export_path), partial(say, quiet=quiet)
    language = language_for(jobs[0][0], language, (model, config), notice)
    tts_model = TTSModel.load_model(
        language,
        config,
        model=model,
        engine=engine,
        offline=offline,
        on_notice=notice,
    )
    for recording, place in jobs:
        source = fetch_voice(recording, offline)
        voice = tts_model.get_state_for_audio_prompt(source, truncate=truncate)
        write_voice(place, voice.in_timbre(factors))
        say(f"Wrote {place}", quiet=quiet)


def fetch_voice(voice: str, offline: bool) -> str:
    """A voice as a name or a path; an address is fetched unless `offline`."""
    return str(resolve(voice, what="the voice", offline=offline)) if is_remote(voice) else voice


def _jobs(audio_path: str, export_path: Path) -> list[tuple[str, Path]]:
    """Each recording with the file for its voice."""
    folder = Path(audio_path).expanduser()
    if is_remote(audio_path) or not folder.is_dir():
        if export_path.is_dir() or export_path.suffix not in (".safetensors", ""):
            raise VoiceError(f"{export_path}: the name of a voice file ends in .safetensors.")
        return [(audio_path, export_path)]
    recordings = sorted(path for path in folder.iterdir() if path.suffix.lower() in _RECORDINGS)
    if not recordings:
        raise VoiceError(f"{audio_path} has no recordings: expected {', '.join(_RECORDINGS)}.")
    try:
        export_path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VoiceError(
            f"{export_path} cannot be a folder of voices: {error.strerror}. Choose another place."
        ) from error
    return [(str(path), export_path / f"{path.stem}.safetensors") for path in recordings]
