"""From a user's text to what the model is fed: the opt-in steps, in their order, then chunks.

1. Pause marks split the text (`pauses`).
2. The user's lexicon replaces terms (`lexicon`), so that its readings are read like other text.
3. Typographic characters become plain ones (`typography`).
4. Numbers, dates and abbreviations are written as words (`normalize`).
5. The text is cut into chunks (`text`), short ones glued to a neighbour if asked for (`chunks`).

Without options the result is the reference's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, tee

from pocket_tts_jax.errors import TextError
from pocket_tts_jax.text.chunks import as_written, check_max_tokens, cut, warn_if_long
from pocket_tts_jax.text.lexicon import Lexicon
from pocket_tts_jax.text.pauses import Pause, split_pauses
from pocket_tts_jax.text.prepare import Prompt, TextRules, make_prompt, prepare_text
from pocket_tts_jax.text.tokenizer import Tokenizer
from pocket_tts_jax.text.traced import Traced
from pocket_tts_jax.text.typography import fold_typography
from pocket_tts_jax.text.words import WordFinder
from pocket_tts_jax.weights.source import ModelSource

Item = Prompt | Pause
_SAMPLE = "Read me."


@dataclass(frozen=True)
class TextOptions:
    """What is done to a text before the model's own preparation.

    normalize: write numbers, currency, dates, units and abbreviations as words; None does what
        the model asks for (the embedded voice does, Kyutai's models do not).
    language: in which to write them ("en", "fr", …); None takes the model's.
    lexicon: the user's readings of terms.
    pauses: understand `[pause:0.5]` and `<break time="500ms"/>`.
    plain_typography: curly quotes, dashes and special spaces as plain characters.
    glue_short_chunks: join chunks of one or two words to a neighbour.
    cut_at_words: cut a chunk that is too long between words, where it has no punctuation.
    """

    normalize: bool | None = None
    language: str | None = None
    lexicon: Lexicon | None = None
    pauses: bool = False
    plain_typography: bool = False
    glue_short_chunks: bool = False
    cut_at_words: bool = False


def language_of(source: ModelSource) -> str:
    """The language of a model by its name, English where that does not say."""
    from pocket_tts_jax.text.numbers.normalize import (
        CODES,  # 30 ms, which most texts can do without
    )

    return next((code for name, code in CODES.items() if name in source.name), "en")


def iter_prompts(
    text: str,
    tokenizer: Tokenizer,
    source: ModelSource,
    options: TextOptions | None = None,
    max_tokens: int | None = None,
    first_chunk: int = 0,
    *,
    words: bool = False,
) -> Iterator[Item]:
    """The prompts of `text` from chunk `first_chunk` on, and the pauses between them.

    `max_tokens` None takes the model's. The first prompt is made at once, so that TextError for a
    text with nothing to speak is raised here; the others as they are asked for. Pauses alone are
    something to speak. With `words` the prompts have the words of `text` that they say.
    """
    if words:
        text = Traced(text)
    options = options or TextOptions()
    _check_language(source, options)
    limit = source.settings.max_tokens if max_tokens is None else max_tokens
    check_max_tokens(limit)
    segments: list[str | Pause] = split_pauses(text) if options.pauses else [text]
    items = _from_chunk(_items(segments, tokenizer, source, options, limit), first_chunk)
    head: list[Item] = []
    for item in items:
        head.append(item)
        if isinstance(item, Prompt):
            return chain(head, items)
    if head:
        return iter(head)
    if first_chunk:
        raise TextError(f"The text has no chunk {first_chunk}: it has fewer. Count from 0.")
    raise TextError(
        "There is nothing to speak: the model has no sound for any character of the text. Pass at "
        "least one word."
    )


def _items(
    segments: list[str | Pause],
    tokenizer: Tokenizer,
    source: ModelSource,
    options: TextOptions,
    max_tokens: int,
) -> Iterator[Item]:
    rules = TextRules.from_config(source.config)
    own_letters = has_own_letters(tokenizer)
    frame_rate = source.config.mimi.frame_rate
    for segment in segments:
        if isinstance(segment, Pause):
            yield segment
            continue
        spoken = _rewritten(segment, source, options)
        if len(segments) > 1 and not spoken.strip():
            continue  # nothing was left between two pauses
        text = prepare_text(spoken, rules).text.strip()
        finder = None
        if isinstance(segment, Traced) and isinstance(text, Traced):
            finder = WordFinder(segment, text, tokenizer)
        text = str(text)
        ids = tokenizer.encode(text)
        how = {"cut_at_words": options.cut_at_words, "glue_short": options.glue_short_chunks}
        chunks, same = tee(cut(ids, tokenizer, max_tokens, **how))
        written = as_written(same, text, tokenizer.decode(ids)) if own_letters else same
        for chunk, name in zip(chunks, written, strict=True):
            warn_if_long(chunk, tokenizer, max_tokens, name)
            traced = chunk if finder is None else finder.trace(chunk)
            prompt = make_prompt(traced, tokenizer, rules, frame_rate)
            if finder is not None and isinstance(prompt.text, Traced):
                prompt = replace(prompt, text=str(prompt.text), words=finder.words(prompt.text))
            yield replace(prompt, text=name) if own_letters else prompt


def has_own_letters(tokenizer: Tokenizer) -> bool:
    """Whether tokens decode to something else than they were made of, such as phonemes."""
    return tokenizer.decode(tokenizer.encode(_SAMPLE)).split() != _SAMPLE.split()


def _rewritten(text: str, source: ModelSource, options: TextOptions) -> str:
    if options.lexicon is not None:
        text = options.lexicon.apply(text)
    if options.plain_typography:
        text = fold_typography(text)
    if _is_normalized(source, options):
        from pocket_tts_jax.text.numbers.normalize import normalize

        language = options.language or language_of(source)
        # A model that wants words for numbers has no characters for the rest either.
        text = normalize(text, language, ascii_only=source.settings.normalize)
    return text


def _is_normalized(source: ModelSource, options: TextOptions) -> bool:
    return source.settings.normalize if options.normalize is None else options.normalize


def _check_language(source: ModelSource, options: TextOptions) -> None:
    """Refuse a language that is unknown, that nothing would use, or that the model cannot read."""
    if options.language is None:
        return
    from pocket_tts_jax.text.numbers.normalize import language_code

    code = language_code(options.language)
    if not _is_normalized(source, options):
        raise TextError(
            f"The text's language ({options.language}) is the one that numbers are read in, and "
            "that is switched off: add --normalize, or leave --text-language out."
        )
    if source.settings.normalize and code != "en":
        raise TextError(
            f"The model {source.name} reads English letters only, so numbers cannot be read in "
            f"{options.language!r}: leave --text-language out, or choose a model of that language."
        )


def _from_chunk(items: Iterator[Item], first: int) -> Iterator[Item]:
    """Drop the first chunks, and the pauses before the one that is kept."""
    if first < 0:
        raise TextError(f"first_chunk counts from 0, got {first}.")
    prompts = 0
    for item in items:
        if prompts >= first:
            yield item
        prompts += isinstance(item, Prompt)
