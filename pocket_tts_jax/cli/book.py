"""The command `book`."""

import importlib.util
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocket_tts_jax.cli import options, speech_options
from pocket_tts_jax.cli.console import command, say, set_logging
from pocket_tts_jax.errors import ConfigError

if TYPE_CHECKING:
    from pocket_tts_jax.book.contents import Book
    from pocket_tts_jax.book.recording import Recording


@command
def book(
    source: Annotated[Path, typer.Argument(metavar="BOOK", help="An .epub, .md or .txt file.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output-path",
            "-o",
            help=".epub (words light up), .m4b (one file with chapters), or a folder.",
        ),
    ],
    normalize: speech_options.Normalize = None,
    lexicon: speech_options.LexiconFile = None,
    text_language: speech_options.TextLanguage = None,
    voice: speech_options.Voice = None,
    truncate: options.Truncate = True,
    speed: speech_options.Speed = 1.0,
    model: options.Model = None,
    language: options.Language = None,
    engine: options.Engine = options.EngineName.auto,
    seed: options.Seed = None,
    threads: options.Threads = None,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
) -> None:
    """Read a book aloud, chapter by chapter. After an interruption, run it again to continue."""
    from pocket_tts_jax.book.contents import read_book
    from pocket_tts_jax.book.reading import Reader, claim_folder, read_aloud
    from pocket_tts_jax.cli.voices import fetch_voice
    from pocket_tts_jax.text.lexicon import load_lexicon
    from pocket_tts_jax.text.pipeline import TextOptions
    from pocket_tts_jax.tts_model import TTSModel

    set_logging(quiet)
    _check(source, output)
    contents = read_book(source)
    tts_model = TTSModel.load_model(
        language,
        model=model,
        engine=engine,
        threads=threads,
        offline=offline,
        on_notice=lambda line: say(line, quiet=quiet),
    )
    name = tts_model.default_voice() if voice is None else voice
    work = output.with_name(f"{output.name}.part")
    how = {
        "voice": name,
        "model": tts_model.source.name,
        "speed": speed,
        "normalize": str(normalize),
        "lexicon": None if lexicon is None else str(lexicon),
        "seed": seed,
    }
    begun = claim_folder(work, contents, how, fresh={"seed": secrets.randbits(63)})
    text_options = TextOptions(
        normalize=normalize,
        language=text_language,
        lexicon=None if lexicon is None else load_lexicon(lexicon),
    )
    state = tts_model.get_state_for_audio_prompt(fetch_voice(name, offline), truncate=truncate)
    reader = Reader(tts_model, state, begun["seed"], speed, text_options)

    def tell(chapter: int, block: int) -> None:
        if block == 0:
            title = contents.chapters[chapter].title
            say(f"Chapter {chapter + 1} of {len(contents.chapters)}: {title}", quiet=quiet)

    try:
        recordings = read_aloud(contents, reader, work, tell)
    except KeyboardInterrupt:
        say(f"Interrupted; the same command goes on. What was read is in {work}.", quiet=quiet)
        raise
    _write(output, contents, recordings)
    shutil.rmtree(work)
    minutes = sum(recording.seconds for recording in recordings) / 60
    say(f"{output}: {minutes:.1f} minutes in {len(recordings)} chapters", quiet=quiet)


def _check(source: Path, output: Path) -> None:
    """Raise ConfigError for files that cannot be written, before anything is read aloud."""
    if output.suffix and output.suffix.lower() not in (".epub", ".m4b") and not output.is_dir():
        raise ConfigError(f"{output}: a book becomes an .epub, an .m4b, or a folder.")
    if not output.parent.is_dir():
        raise ConfigError(f"There is no folder {output.parent}: make it first.")
    if output.exists() and output.samefile(source):
        raise ConfigError(f"{output} is the book itself: give another name with -o.")
    wanted = {path.suffix.lower() for path in (source, output)}
    for module, kind, suffix in (("lxml", "EPUB", ".epub"), ("av", "M4B", ".m4b")):
        if suffix in wanted and importlib.util.find_spec(module) is None:
            raise ConfigError(
                f'{kind} files need the package {module}: pip install "pocket-tts-jax[book]".'
            )


def _write(output: Path, contents: "Book", recordings: "list[Recording]") -> None:
    kind = output.suffix.lower()
    if kind == ".epub":
        from pocket_tts_jax.book.epub import write_epub as write
    elif kind == ".m4b":
        from pocket_tts_jax.book.m4b import write_m4b as write
    else:
        from pocket_tts_jax.book.folder import write_folder as write
    write(output, contents, recordings)
