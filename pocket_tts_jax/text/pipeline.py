"""Turns a user's text into prompts: the opt-in steps, in their order, then chunks.

1. Pause marks split the text (`pauses`).
2. The user's lexicon replaces terms (`lexicon`), so that its readings are read like other text.
3. Typographic characters become plain ones (`typography`).
4. Numbers, dates and abbreviations are written as words (`normalize`).
5. The text is cut into chunks (`prepare`); short ones are joined to a neighbour on request.

Without options the result is the reference's.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, tee

from pocket_tts_jax.errors import TextError
from pocket_tts_jax.text.chunks import as_written, check_max_tokens, cut, warn_if_long
from pocket_tts_jax.text.lexicon import Lexicon
from pocket_tts_jax.text.pauses import Pause, has_pauses, split_pauses
from pocket_tts_jax.text.prepare import Prompt, TextRules, make_prompt, prepare_text
from pocket_tts_jax.text.tokenizer import Tokenizer
from pocket_tts_jax.text.traced import Traced
from pocket_tts_jax.text.typography import fold_typography
from pocket_tts_jax.text.words import WordFinder
from pocket_tts_jax.weights.source import ModelSource

Item = Prompt | Pause
SILENT = " \t\r\n.,;:!?…¡¿-–—'\"‘’‚“”„«»()[]{}"  # what no model has a sound for by itself
_SAMPLE = "Read me."
_log = logging.getLogger(__name__)

_CLAUSE_END = re.compile(r"(?<=[.!?…,;:\"'”’)\]»])\s+(?=[^\W_])")
_EARLY_WORDS = 4  # fewer sound cut off when they are spoken alone


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
    early_start: speak the first clause of a few words on its own, so that speech begins sooner,
        above all of a text that is still being written.
    """

    normalize: bool | None = None
    language: str | None = None
    lexicon: Lexicon | None = None
    pauses: bool = False
    plain_typography: bool = False
    glue_short_chunks: bool = False
    cut_at_words: bool = False
    early_start: bool = False


def language_of(source: ModelSource) -> str:
    """The language code that a model's name implies; "en" if it implies none."""
    from pocket_tts_jax.text.numbers.normalize import (
        CODES,  # imported late: it takes 30 ms, and most texts do not need it
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

    `max_tokens` None takes the model's. The first prompt is made at once, the others on demand.
    Raises TextError for a text with nothing to speak; pauses alone count as something to speak.
    With `words` the prompts have the words of `text` that they say.
    """
    cutter = Cutter(tokenizer, source, options, max_tokens)
    if not cutter.options.pauses and has_pauses(text):
        _log.warning(
            "The text has marks such as [pause:0.5], which are read aloud: add --pauses (in Python "
            "TextOptions(pauses=True)) to have them as silence."
        )
    if text.strip() and not text.strip(SILENT):
        raise TextError(
            f"There is nothing to speak in {text.strip()[:20]!r}: it has punctuation only. Pass at "
            "least one word."
        )
    items = _from_chunk(cutter.items(Traced(text) if words else text), first_chunk)
    head: list[Item] = []
    for item in items:
        head.append(item)
        if isinstance(item, Prompt):
            return chain(head, items)
    if head:
        return iter(head)
    if first_chunk:
        raise TextError(f"The text has no chunk {first_chunk}: it has fewer. Count from 0.")
    raise nothing_to_speak()


def nothing_to_speak() -> TextError:
    """What is wrong with a text without words."""
    return TextError(
        "There is nothing to speak: the model has no sound for any character of the text. Pass at "
        "least one word."
    )


class Cutter:
    """Cuts texts into prompts for one model. The arguments are those of `iter_prompts`."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        source: ModelSource,
        options: TextOptions | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.options = options or TextOptions()
        _check_language(source, self.options)
        self.max_tokens = source.settings.max_tokens if max_tokens is None else max_tokens
        check_max_tokens(self.max_tokens)
        self.tokenizer, self._source = tokenizer, source
        self.rules = TextRules.from_config(source.config)
        self.own_letters = has_own_letters(tokenizer)

    @property
    def rewrites(self) -> bool:
        """Whether `rewrite` may change a text."""
        options = self.options
        asked = options.lexicon is not None or options.plain_typography
        return asked or _is_normalized(self._source, options)

    def items(self, text: str) -> Iterator[Item]:
        """The prompts and pauses of a whole text, made as they are asked for."""
        segments = split_pauses(text) if self.options.pauses else [text]
        early = self.options.early_start
        for segment in segments:
            if isinstance(segment, Pause):
                yield segment
                continue
            spoken = self.rewrite(segment)
            if len(segments) > 1:
                if not spoken.strip():
                    continue  # no text between two pauses
            elif not spoken.strip(SILENT) and segment.strip(SILENT):
                raise nothing_to_speak()
            end = first_clause(spoken) if early else None
            early = False
            for part in [spoken] if end is None else [spoken[:end], spoken[end:]]:
                yield from self.prompts(part, segment)

    def rewrite(self, text: str) -> str:
        """Lexicon, typography and numbers."""
        return _rewritten(text, self._source, self.options)

    def prompts(self, spoken: str, written: str) -> Iterator[Prompt]:
        """The prompts of a text without pauses, `written` before it was rewritten; with their
        words where it is `Traced`."""
        text = prepare_text(spoken, self.rules).text.strip()
        finder = None
        if isinstance(text, Traced) and isinstance(written, Traced):
            finder = WordFinder(written, text, self.tokenizer)
        text = str(text)
        ids = self.tokenizer.encode(text)
        how = {
            "cut_at_words": self.options.cut_at_words,
            "glue_short": self.options.glue_short_chunks,
        }
        chunks, same = tee(cut(ids, self.tokenizer, self.max_tokens, **how))
        own = self.own_letters
        names = as_written(same, text, self.tokenizer.decode(ids)) if own else same
        for chunk, name in zip(chunks, names, strict=True):
            yield self.prompt(chunk, name, finder)

    def prompt(self, chunk: str, name: str, finder: WordFinder | None = None) -> Prompt:
        """What the model is fed for a chunk, which reports call `name`."""
        warn_if_long(chunk, self.tokenizer, self.max_tokens, name)
        traced = chunk if finder is None else finder.trace(chunk)
        frame_rate = self._source.config.mimi.frame_rate
        frames_after_eos = self._source.config.model_recommended_frames_after_eos
        prompt = make_prompt(traced, self.tokenizer, self.rules, frame_rate, frames_after_eos)
        if finder is not None and isinstance(prompt.text, Traced):
            prompt = replace(prompt, text=str(prompt.text), words=finder.words(prompt.text))
        return replace(prompt, text=name) if self.own_letters else prompt


def first_clause(text: str) -> int | None:
    """Where the first clause of a few words ends that another word follows, if there is one."""
    for seam in _CLAUSE_END.finditer(text):
        if len(text[: seam.start()].split()) >= _EARLY_WORDS:
            return seam.end()
    return None


def has_own_letters(tokenizer: Tokenizer) -> bool:
    """Whether tokens decode to other characters than the text had, such as phonemes."""
    return tokenizer.decode(tokenizer.encode(_SAMPLE)).split() != _SAMPLE.split()


def _rewritten(text: str, source: ModelSource, options: TextOptions) -> str:
    if options.lexicon is not None:
        text = options.lexicon.apply(text)
    if options.plain_typography:
        text = fold_typography(text)
    if _is_normalized(source, options):
        from pocket_tts_jax.text.numbers.normalize import normalize

        language = options.language or language_of(source)
        # A model that needs numbers as words has tokens for ASCII letters only.
        text = normalize(text, language, ascii_only=source.settings.normalize)
    return text


def _is_normalized(source: ModelSource, options: TextOptions) -> bool:
    return source.settings.normalize if options.normalize is None else options.normalize


def _check_language(source: ModelSource, options: TextOptions) -> None:
    """Refuse a language that is unknown, has no effect, or that the model cannot read."""
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
