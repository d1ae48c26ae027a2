"""The command `generate`."""

import secrets
import sys
from collections.abc import Callable
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import cast

from pocket_tts_jax.cli import options, speech_options
from pocket_tts_jax.cli.console import command, say, set_logging
from pocket_tts_jax.cli.defaults import language_for
from pocket_tts_jax.errors import ConfigError, TextError


@command
def generate(
    words: speech_options.Words = None,
    text: speech_options.Text = None,
    file: speech_options.TextFile = None,
    normalize: speech_options.Normalize = None,
    lexicon: speech_options.LexiconFile = None,
    pauses: speech_options.Pauses = False,
    glue_short_chunks: speech_options.GlueShortChunks = False,
    cut_at_words: speech_options.CutAtWords = False,
    plain_typography: speech_options.PlainTypography = False,
    text_language: speech_options.TextLanguage = None,
    max_tokens: speech_options.MaxTokens = None,
    first_chunk: speech_options.FirstChunk = 0,
    voice: speech_options.Voice = None,
    truncate: options.Truncate = True,
    output_path: speech_options.OutputPath = None,
    format: speech_options.Format = None,
    play: speech_options.Play = False,
    speed: speech_options.Speed = 1.0,
    report: speech_options.Report = None,
    subtitles: speech_options.Subtitles = None,
    karaoke: speech_options.Karaoke = False,
    words_file: speech_options.WordTimes = None,
    model: options.Model = None,
    language: options.Language = None,
    config: options.ConfigFile = None,
    checkpoint: options.Checkpoint = None,
    engine: options.Engine = options.EngineName.auto,
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
    from pocket_tts_jax.cli.captions import Captions
    from pocket_tts_jax.cli.speak import Speech, targets
    from pocket_tts_jax.text.lexicon import load_lexicon
    from pocket_tts_jax.text.pipeline import TextOptions
    from pocket_tts_jax.tts_model import TTSModel

    set_logging(quiet)
    if lsd_decode_steps is not None:
        say("--lsd-decode-steps is now called --sampler-decode-steps.", quiet=quiet)
        sampler_decode_steps = lsd_decode_steps
    notice = partial(say, quiet=quiet)
    language = language_for(voice, language, (model, config, checkpoint), notice)
    said = _text(words, text, file)
    if said is None:
        said = _default_text(language or config or model, notice)
    text_options = TextOptions(
        normalize=normalize,
        language=text_language,
        lexicon=None if lexicon is None else load_lexicon(lexicon),
        pauses=pauses,
        plain_typography=plain_typography,
        glue_short_chunks=glue_short_chunks,
        cut_at_words=cut_at_words,
    )
    captions = Captions(subtitles, words_file, karaoke)
    where = targets(output_path, format, play, speech_options.DEFAULT_OUTPUT, report, captions)
    tts_model = TTSModel.load_model(
        language,
        config,
        temperature,
        sampler_decode_steps,
        noise_clamp,
        eos_threshold,
        quantize,
        checkpoint,
        model=model,
        engine=engine,
        device=device,
        threads=threads,
        offline=offline,
        compilation_cache=not no_compilation_cache,
        on_notice=notice,
    )
    _tell_what_does_nothing(tts_model.temp, seed, noise_clamp, notice)
    speech = Speech(
        model=tts_model,
        text=said,
        voice=voice,
        seed=secrets.randbits(32) if seed is None else seed,  # 32 bits are short enough to type
        seed_was_drawn=seed is None,
        options=text_options,
        max_tokens=max_tokens,
        frames_after_eos=frames_after_eos,
        first_chunk=first_chunk,
        speed=speed,
        truncate=truncate,
        offline=offline,
    )
    speech.run(where, quiet=quiet)


def _text(words: str | None, text: str | None, file: Path | None) -> str | None:
    """The text to speak, from the argument, option or file; None if none was given."""
    given = [value for value in (words, text, file) if value is not None]
    if len(given) > 1:
        raise ConfigError("Give the text once: as an argument, with --text, or with --file.")
    if file is not None:
        try:
            return file.expanduser().read_text(encoding="utf-8-sig")
        except OSError as error:
            raise TextError(f"{file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise TextError(f"{file} is not UTF-8 text: {error}") from error
    said = text if words is None else words
    return _piped() if said == "-" else said


def _tell_what_does_nothing(
    temperature: float, seed: int | None, noise_clamp: float | None, notice: Callable[[str], None]
) -> None:
    options = {"--seed": seed, "--noise-clamp": noise_clamp}
    given = [name for name, value in options.items() if value is not None]
    if given and temperature == 0:
        notice(
            f"{' and '.join(given)} changes nothing at temperature 0, where there is no noise: add "
            "--temperature 0.3 for speech that varies."
        )


def _default_text(model: str | None, notice: Callable[[str], None]) -> str:
    """Does not read a pipe without being asked to: it may stay open without any text."""
    from pocket_tts_jax.text.default_text import default_text

    notice('No text was given, so this says a sample. Write one ("Hello"), or - to read a pipe.')
    return default_text(model)


def _piped() -> str:
    if sys.stdin is None:
        raise TextError("Standard input is closed: write the text, or name a file with --file.")
    try:
        # The encoding of --file; the locale's may be another one.
        cast(TextIOWrapper, sys.stdin).reconfigure(encoding="utf-8-sig")
        said = sys.stdin.read()
    except UnicodeDecodeError as error:
        raise TextError(f"Standard input is not UTF-8 text: {error}. Convert it first.") from error
    if not said.strip():
        raise TextError('Nothing came from standard input: pipe a text, or write it: "Hello".')
    return said
