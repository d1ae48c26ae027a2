"""The command `generate`."""

import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from pocket_tts_jax import cli_options as options
from pocket_tts_jax.console import command, say, set_logging
from pocket_tts_jax.errors import ConfigError, TextError

DEFAULT_OUTPUT = "./tts_output.wav"
DEFAULT_TEXT = "Hello! This is a voice that was made on this computer, while you wait."

_TEXT, _OUTPUT = "Text", "Output"


@command
def generate(
    words: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="What to say; - or nothing reads standard input."),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="The same, as an option.", rich_help_panel=_TEXT)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A UTF-8 file to say.", rich_help_panel=_TEXT)
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize",
            help="Read numbers, money, dates and units as words. Default: the model's.",
            rich_help_panel=_TEXT,
        ),
    ] = None,
    lexicon: Annotated[
        Path | None,
        typer.Option(
            "--lexicon",
            help="Your readings of words (.toml, .json, .yaml, .tsv).",
            rich_help_panel=_TEXT,
        ),
    ] = None,
    pauses: Annotated[
        bool,
        typer.Option("--pauses", help=r"Understand \[pause:0.5] marks.", rich_help_panel=_TEXT),
    ] = False,
    glue_short_chunks: Annotated[
        bool,
        typer.Option(
            "--glue-short-chunks",
            help="Say sentences of one or two words with a neighbour.",
            rich_help_panel=_TEXT,
        ),
    ] = False,
    plain_typography: Annotated[
        bool,
        typer.Option(
            "--plain-typography",
            help="Curly quotes, dashes and special spaces as plain ones.",
            rich_help_panel=_TEXT,
        ),
    ] = False,
    text_language: Annotated[
        str | None,
        typer.Option(
            "--text-language",
            help="Language to read numbers in (en, fr, ...). Default: the model's.",
            rich_help_panel=_TEXT,
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            min=1,
            help="Longest chunk in tokens. Default: the model's (50 for Kyutai's).",
            rich_help_panel=_TEXT,
        ),
    ] = None,
    first_chunk: Annotated[
        int,
        typer.Option(
            "--first-chunk",
            min=0,
            help="Begin at this chunk, to go on with a long text.",
            rich_help_panel=_TEXT,
        ),
    ] = 0,
    voice: Annotated[
        str | None,
        typer.Option(
            "--voice", help="A name (see `voices`), a recording, or a .safetensors voice file."
        ),
    ] = None,
    truncate: options.Truncate = True,
    output_path: Annotated[
        str | None,
        typer.Option(
            "--output-path",
            "-o",
            help=f"File to write, - for standard output. Default: {DEFAULT_OUTPUT}, nothing with "
            "--play.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="wav, raw, flac, ogg, opus, mp3. Default: by the file's ending.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Samples alone (s16le, mono): --format raw.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    play: Annotated[
        bool, typer.Option("--play", help="Play while speaking.", rich_help_panel=_OUTPUT)
    ] = False,
    speed: Annotated[
        float,
        typer.Option("--speed", help="Pace, 0.5 to 2, at the same pitch.", rich_help_panel=_OUTPUT),
    ] = 1.0,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Write a JSON file: each chunk's text, times and end.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    model: options.Model = None,
    language: options.Language = None,
    config: options.ConfigFile = None,
    checkpoint: options.Checkpoint = None,
    engine: options.Engine = None,
    quantize: options.Quantize = False,
    temperature: options.Temperature = None,
    sampler_decode_steps: options.DecodeSteps = 1,
    lsd_decode_steps: options.LsdDecodeSteps = None,
    noise_clamp: options.NoiseClamp = None,
    eos_threshold: options.EosThreshold = None,
    frames_after_eos: options.FramesAfterEos = None,
    seed: options.Seed = None,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    offline: options.Offline = False,
    no_compilation_cache: options.NoCompilationCache = False,
    quiet: options.Quiet = False,
) -> None:
    """Say a text, into a WAV file, a pipe or a loudspeaker."""
    from pocket_tts_jax import speaker
    from pocket_tts_jax.lexicon import load_lexicon
    from pocket_tts_jax.speech import Speech, targets
    from pocket_tts_jax.text_options import TextOptions

    set_logging(quiet)
    if lsd_decode_steps is not None:
        say("--lsd-decode-steps is now called --sampler-decode-steps.", quiet=quiet)
        sampler_decode_steps = lsd_decode_steps
    spoken = _text(words, text, file)
    text_options = TextOptions(
        normalize=normalize,
        language=text_language,
        lexicon=None if lexicon is None else load_lexicon(lexicon),
        pauses=pauses,
        plain_typography=plain_typography,
        glue_short_chunks=glue_short_chunks,
    )
    wanted = targets(output_path, "raw" if raw else format, play, DEFAULT_OUTPUT)
    choice = speaker.ModelChoice(
        language=language,
        config=config,
        model=model,
        checkpoint=checkpoint,
        engine=engine,
        device=device,
        threads=threads,
        quantize=quantize,
        offline=offline,
        compilation_cache=not no_compilation_cache,
        temp=temperature,
        sampler_decode_steps=sampler_decode_steps,
        noise_clamp=noise_clamp,
        eos_threshold=eos_threshold,
    )
    name, opened = speaker.open_speaker(choice, lambda line: say(line, quiet=quiet))
    speech = Speech(
        speaker=opened,
        engine=str(name),
        text=spoken,
        voice=voice,
        seed=secrets.randbits(63) if seed is None else seed,
        options=text_options,
        max_tokens=max_tokens,
        frames_after_eos=frames_after_eos,
        first_chunk=first_chunk,
        speed=speed,
        truncate=truncate,
        offline=offline,
    )
    speech.run(wanted, report=report, quiet=quiet)


def _text(words: str | None, text: str | None, file: Path | None) -> str:
    """What to say, from the one place that was named; a default at a bare terminal."""
    given = [value for value in (words, text, file) if value is not None]
    if len(given) > 1:
        raise ConfigError("Give the text once: as an argument, with --text, or with --file.")
    if file is not None:
        try:
            return file.expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise TextError(f"{file} cannot be read as UTF-8 text: {error}") from error
    said = text if words is None else words
    if said is None and sys.stdin.isatty():
        return DEFAULT_TEXT
    if said is None or said == "-":
        said = sys.stdin.read()
        if not said.strip():
            raise TextError('Nothing came from standard input: pipe a text, or write it: "Hello".')
    return said
