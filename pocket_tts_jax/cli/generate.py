"""The command `generate`."""

import secrets
import sys
from io import TextIOWrapper
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from pocket_tts_jax.cli import options
from pocket_tts_jax.cli import speech_options as flags
from pocket_tts_jax.cli.console import command, say, set_logging
from pocket_tts_jax.errors import ConfigError, TextError

if TYPE_CHECKING:
    from pocket_tts_jax.open_model import ModelChoice
    from pocket_tts_jax.text.pipeline import TextOptions

DEFAULT_TEXT = "Hello! This is a voice that was made on this computer, while you wait."


@command
def generate(
    words: flags.Words = None,
    text: flags.Text = None,
    file: flags.TextFile = None,
    normalize: flags.Normalize = None,
    lexicon: flags.LexiconFile = None,
    pauses: flags.Pauses = False,
    glue_short_chunks: flags.GlueShortChunks = False,
    cut_at_words: flags.CutAtWords = False,
    plain_typography: flags.PlainTypography = False,
    text_language: flags.TextLanguage = None,
    max_tokens: flags.MaxTokens = None,
    first_chunk: flags.FirstChunk = 0,
    voice: flags.Voice = None,
    truncate: options.Truncate = True,
    output_path: flags.OutputPath = None,
    format: flags.Format = None,
    raw: flags.Raw = False,
    play: flags.Play = False,
    speed: flags.Speed = 1.0,
    report: flags.Report = None,
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
    _generate(SimpleNamespace(**locals()))


def _generate(given: SimpleNamespace) -> None:
    from pocket_tts_jax import open_model as speaker
    from pocket_tts_jax.cli.speak import Speech, targets

    set_logging(given.quiet)
    if given.lsd_decode_steps is not None:
        say("--lsd-decode-steps is now called --sampler-decode-steps.", quiet=given.quiet)
        given.sampler_decode_steps = given.lsd_decode_steps
    text, text_options = _text(given.words, given.text, given.file), _text_options(given)
    if given.raw and given.format not in (None, "raw"):
        raise ConfigError(f"--raw means --format raw, not {given.format}: give one of the two.")
    format = "raw" if given.raw else given.format
    wanted = targets(given.output_path, format, given.play, flags.DEFAULT_OUTPUT, given.report)
    engine, opened = speaker.open_speaker(
        _model_choice(given), lambda line: say(line, quiet=given.quiet)
    )
    speech = Speech(
        speaker=opened,
        engine=str(engine),
        text=text,
        voice=given.voice,
        seed=secrets.randbits(63) if given.seed is None else given.seed,
        options=text_options,
        max_tokens=given.max_tokens,
        frames_after_eos=given.frames_after_eos,
        first_chunk=given.first_chunk,
        speed=given.speed,
        truncate=given.truncate,
        offline=given.offline,
    )
    speech.run(wanted, quiet=given.quiet)


def _text_options(given: SimpleNamespace) -> "TextOptions":
    from pocket_tts_jax.text.lexicon import load_lexicon
    from pocket_tts_jax.text.pipeline import TextOptions

    return TextOptions(
        normalize=given.normalize,
        language=given.text_language,
        lexicon=None if given.lexicon is None else load_lexicon(given.lexicon),
        pauses=given.pauses,
        plain_typography=given.plain_typography,
        glue_short_chunks=given.glue_short_chunks,
        cut_at_words=given.cut_at_words,
    )


def _model_choice(given: SimpleNamespace) -> "ModelChoice":
    from pocket_tts_jax.open_model import ModelChoice

    return ModelChoice(
        language=given.language,
        config=given.config,
        model=given.model,
        checkpoint=given.checkpoint,
        engine=given.engine,
        device=given.device,
        threads=given.threads,
        quantize=given.quantize,
        offline=given.offline,
        compilation_cache=not given.no_compilation_cache,
        temp=given.temperature,
        sampler_decode_steps=given.sampler_decode_steps,
        noise_clamp=given.noise_clamp,
        eos_threshold=given.eos_threshold,
    )


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
    if said is not None and said != "-":
        return said
    if sys.stdin is None:
        raise TextError("Standard input is closed: write the text, or name a file with --file.")
    return DEFAULT_TEXT if said is None and sys.stdin.isatty() else _piped()


def _piped() -> str:
    try:
        # As --file reads; the locale's encoding may be another one.
        cast(TextIOWrapper, sys.stdin).reconfigure(encoding="utf-8-sig")
        said = sys.stdin.read()
    except UnicodeDecodeError as error:
        raise TextError(f"Standard input is not UTF-8 text: {error}. Convert it first.") from error
    if not said.strip():
        raise TextError('Nothing came from standard input: pipe a text, or write it: "Hello".')
    return said
