"""The options of `generate` about text, voice and output."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_OUTPUT = "./tts_output.wav"

_TEXT, _OUTPUT = "Text", "Output"

Words = Annotated[
    str | None,
    typer.Argument(
        metavar="[TEXT]", help="What to say; - reads standard input. Default: a sample."
    ),
]
Text = Annotated[
    str | None, typer.Option("--text", help="The same, as an option.", rich_help_panel=_TEXT)
]
TextFile = Annotated[
    Path | None, typer.Option("--file", help="A UTF-8 file to say.", rich_help_panel=_TEXT)
]
Normalize = Annotated[
    bool | None,
    typer.Option(
        "--normalize/--no-normalize",
        help="Read numbers, money, dates and units as words. Default: the model's.",
        rich_help_panel=_TEXT,
    ),
]
LexiconFile = Annotated[
    Path | None,
    typer.Option(
        "--lexicon",
        help="Your readings of words: a .json or .tsv file.",
        rich_help_panel=_TEXT,
    ),
]
Pauses = Annotated[
    bool,
    typer.Option("--pauses", help=r"Understand \[pause:0.5] marks.", rich_help_panel=_TEXT),
]
GlueShortChunks = Annotated[
    bool,
    typer.Option(
        "--glue-short-chunks",
        help="Say sentences of one or two words with a neighbour.",
        rich_help_panel=_TEXT,
    ),
]
CutAtWords = Annotated[
    bool,
    typer.Option(
        "--cut-at-words",
        help="Cut a chunk that is too long between words, where it has no punctuation.",
        rich_help_panel=_TEXT,
    ),
]
PlainTypography = Annotated[
    bool,
    typer.Option(
        "--plain-typography",
        help="Curly quotes, dashes and special spaces as plain ones.",
        rich_help_panel=_TEXT,
    ),
]
TextLanguage = Annotated[
    str | None,
    typer.Option(
        "--text-language",
        help="Language to read numbers in (en, fr, ...). Default: the model's.",
        rich_help_panel=_TEXT,
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        min=1,
        help="Longest chunk in tokens. Default: the model's (50 for Kyutai's).",
        rich_help_panel=_TEXT,
    ),
]
FirstChunk = Annotated[
    int,
    typer.Option(
        "--first-chunk",
        min=0,
        help="Begin at this chunk, to go on with a long text.",
        rich_help_panel=_TEXT,
    ),
]
Voice = Annotated[
    str | None,
    typer.Option(
        "--voice", help="A name (see `voices`), a recording, or a .safetensors voice file."
    ),
]
OutputPath = Annotated[
    str | None,
    typer.Option(
        "--output-path",
        "-o",
        help=f"File to write, - for standard output. Default: {DEFAULT_OUTPUT}, nothing with "
        "--play.",
        rich_help_panel=_OUTPUT,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="wav, raw, flac, ogg, opus, mp3. Default: by the file's ending.",
        rich_help_panel=_OUTPUT,
    ),
]
Play = Annotated[bool, typer.Option("--play", help="Play while speaking.", rich_help_panel=_OUTPUT)]
Speed = Annotated[
    float,
    typer.Option("--speed", help="Pace, 0.5 to 2, at the same pitch.", rich_help_panel=_OUTPUT),
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write a JSON file: each chunk's text, times and end.",
        rich_help_panel=_OUTPUT,
    ),
]
Subtitles = Annotated[
    Path | None,
    typer.Option(
        "--subtitles", help="Write subtitles: a .srt, .vtt or .json file.", rich_help_panel=_OUTPUT
    ),
]
Karaoke = Annotated[
    bool,
    typer.Option(
        "--karaoke", help="Light up each word in .vtt subtitles.", rich_help_panel=_OUTPUT
    ),
]
WordTimes = Annotated[
    Path | None,
    typer.Option(
        "--words", help="Write a JSON file: when each word is spoken.", rich_help_panel=_OUTPUT
    ),
]
