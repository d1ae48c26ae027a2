"""The command `synthesize`."""

import os
import time
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperCommand

from pocket_tts_jax.cli import options, speech_options
from pocket_tts_jax.cli.console import command, say, set_logging, stderr
from pocket_tts_jax.cli.defaults import language_for
from pocket_tts_jax.errors import ConfigError, GenerationError

if TYPE_CHECKING:
    from pocket_tts_jax.bulk.corpus import Tally
    from pocket_tts_jax.bulk.rows import Row
    from pocket_tts_jax.bulk.speaker import Result, SpeakerOptions

_RUNNING = "Running"


class SynthesizeCommand(TyperCommand):
    """`--ray` without an address: typer's options have a value always or never."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--ray" in args:
            behind = args.index("--ray") + 1
            if behind == len(args) or args[behind].startswith("-"):
                args = [*args[:behind], "local", *args[behind:]]
        return super().parse_args(ctx, args)


@command
def synthesize(
    corpus: Annotated[
        Path, typer.Argument(help="A .jsonl, .csv or .parquet file with the fields id and text.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to fill, or to go on with.")],
    format: Annotated[
        str, typer.Option("--format", help="flac, wav, ogg, or parquet (many rows in a file).")
    ] = "flac",
    normalize: speech_options.Normalize = None,
    lexicon: speech_options.LexiconFile = None,
    pauses: speech_options.Pauses = False,
    cut_at_words: speech_options.CutAtWords = False,
    text_language: speech_options.TextLanguage = None,
    voice: speech_options.Voice = None,
    truncate: options.Truncate = True,
    speed: speech_options.Speed = 1.0,
    model: options.Model = None,
    language: options.Language = None,
    temperature: options.Temperature = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that speak, on one thread each. Default: one for each processor.",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="[ADDRESS]",
            help="Speak on a Ray cluster; without an address, on one made for this run.",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Speak a corpus of texts into a folder. After an interruption, run it again to continue."""
    from pocket_tts_jax.bulk.corpus import BAD_ROWS, CorpusFolder
    from pocket_tts_jax.bulk.rows import read_rows
    from pocket_tts_jax.bulk.speaker import SpeakerOptions
    from pocket_tts_jax.text.lexicon import load_lexicon
    from pocket_tts_jax.text.pipeline import TextOptions

    set_logging(quiet)
    encoding = encoding_of(format)
    notice = partial(say, quiet=quiet)
    how = SpeakerOptions(
        language=language_for(voice, language, (model,), notice),
        model=model,
        temperature=temperature,
        text=TextOptions(
            normalize=normalize,
            language=text_language,
            lexicon=None if lexicon is None else load_lexicon(lexicon),
            pauses=pauses,
            cut_at_words=cut_at_words,
        ),
        truncate=truncate,
        offline=offline,
        format=encoding,
    )
    rows = list(read_rows(corpus, voice, speed))  # a corpus without rows leaves the folder alone
    settings = _model_settings(how, voice) | _text_settings(how.text, lexicon)
    with CorpusFolder(out.expanduser(), format, settings) as folder:
        todo = folder.missing(rows)
        with _Bar(todo, folder.tally, quiet) as bar:
            folder.speak(todo, partial(_speak, how, workers, ray), bar.advance)
    tally, minutes = folder.tally, folder.tally.seconds / 60
    length = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{minutes:.1f} minutes"
    kept = f", {tally.kept} were there" if tally.kept else ""
    say(f"{out}: {tally.spoken} rows, {length} of speech{kept}, {bar.pace()}", quiet=quiet)
    if tally.bad:
        raise GenerationError(
            f"{tally.bad} rows were not spoken: their reasons are in {out / BAD_ROWS}. Mend them "
            "and run the same command again."
        )


def encoding_of(format: str) -> str:
    """The audio format of a corpus. Raises ConfigError for a format that a corpus cannot have."""
    from pocket_tts_jax.bulk.output import ENCODINGS

    if format not in ENCODINGS:
        raise ConfigError(f"--format is one of {', '.join(ENCODINGS)}, got {format!r}.")
    return ENCODINGS[format]


def _model_settings(how: "SpeakerOptions", voice: str | None) -> dict[str, Any]:
    """What the samples depend on. Loading the model here tells its errors, and packs the weights
    for all processes."""
    from pocket_tts_jax.bulk.speaker import ModelSpeaker

    speaker = ModelSpeaker(how)
    try:
        model = speaker.default.tts_model
        speaker.default.voice(voice)
        return {
            "model": model.source.name,
            "weights": model.engine.speech_fingerprint,
            "precision": model.engine.precision,
            "streams": speaker.streams,
            "temperature": model.temp,
            "truncate": how.truncate,
        }
    finally:
        speaker.close()


def _text_settings(text: Any, lexicon: Path | None) -> dict[str, Any]:
    from pocket_tts_jax.files.verify import digest_of

    return {
        "normalize": text.normalize,
        "text_language": text.language,
        "lexicon": None if lexicon is None else digest_of(lexicon.expanduser()),
        "pauses": text.pauses,
        "cut_at_words": text.cut_at_words,
    }


def _speak(
    how: "SpeakerOptions", workers: int | None, ray: str | None, rows: "Sequence[Row]"
) -> "Generator[list[Result], None, None]":
    if ray is not None:
        from pocket_tts_jax.bulk.cluster import speak_on_ray

        return speak_on_ray(rows, how, workers, ray)
    from pocket_tts_jax.bulk.workers import speak_in_processes

    return speak_in_processes(rows, how, workers or processors())


def processors() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Bar:
    """Progress by characters of text: hours of audio, real-time factor, time left."""

    def __init__(self, todo: "Sequence[Row]", tally: "Tally", quiet: bool) -> None:
        self._tally, self._began = tally, time.monotonic()
        console = stderr()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.1f} %, left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        total = sum(len(row.text) for row in todo)
        self._task = self._progress.add_task("Loading", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, results: "list[Result]") -> None:
        done = sum(len(result.row.text) for result in results)
        text = f"{self._tally.seconds / 3600:.2f} h, {self.pace()}"
        self._progress.update(self._task, advance=done, description=text)

    def pace(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{self._tally.seconds / seconds:.1f} × real time"
