"""Prepares a text for the model: preparation, then chunks of at most `max_tokens` tokens.

The rules are those of pocket-tts 4.0.1, whose models were trained on single sentences: results
equal the reference's, character by character. Reading numbers, pauses, lexicons and other ways of
chunking are separate, optional steps (`normalize`, `pauses`, `lexicon`, `chunks`).
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pocket_tts_jax.config import MAX_TOKENS, Config
from pocket_tts_jax.errors import ConfigError, TextError
from pocket_tts_jax.text.chunks import check_max_tokens, cut, warn_if_long
from pocket_tts_jax.text.tokenizer import Tokenizer
from pocket_tts_jax.text.traced import sub
from pocket_tts_jax.text.words import Word

_SENTENCE_MARKS = tuple(".!?…")
_WEAK_MARKS = tuple(",;:-–—")
_CLOSERS = "\"'”’)]»"
_SPACE = re.compile(r"\s+")
_COMMA_AFTER_SENTENCE = re.compile(r"([.!?…])\s*[,;:]")

SHORT = 5  # words: below it, padding and more frames after the end
_PADDING = " " * 8
# Frames after the end: what every chunk gets on top of the guess by its words.
_GUESS_SHORT, _GUESS = 3, 1
_EXTRA_FRAMES = 2
TAIL_SHORT, TAIL = _GUESS_SHORT + _EXTRA_FRAMES, _GUESS + _EXTRA_FRAMES
# A chunk that is not over after this long will not end by itself.
SLOWEST_TOKENS_PER_SECOND, EXTRA_SECONDS = 3, 2


@dataclass(frozen=True)
class TextRules:
    """How one model wants its text; the fields are those of its configuration.

    `replace_characters` maps single characters to what replaces them ("" deletes).
    """

    pad_with_spaces_for_short_inputs: bool = False
    remove_semicolons: bool = False
    append_terminal_punctuation: bool = True
    capitalize_first_letter: bool = True
    replace_characters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        long = [key for key in self.replace_characters if len(key) != 1]
        if long:
            raise ConfigError(
                f"replace_characters: the keys {long} must be single characters. Put words into a "
                "lexicon instead."
            )

    @classmethod
    def from_config(cls, config: Config) -> "TextRules":
        return cls(
            config.pad_with_spaces_for_short_inputs,
            config.remove_semicolons,
            config.append_terminal_punctuation,
            config.capitalize_first_letter,
            config.replace_characters,
        )


@dataclass(frozen=True)
class Prepared:
    """A prepared text, and a guess of the frames to keep after its end (1 or 3)."""

    text: str
    frames_after_eos_guess: int


@dataclass(frozen=True)
class Prompt:
    """One chunk of text, ready for the model. `text` is for people; the model reads `ids`.

    `words` are those of the user's text that it says, where they were asked for.
    `frames_after_eos` is what every engine uses unless the caller chose another number: the
    configuration's, or else 3 or 5 by the length of the text. `max_frames` is where generation
    stops for want of an end.
    """

    text: str
    ids: tuple[int, ...]
    frames_after_eos: int
    max_frames: int
    words: tuple[Word, ...] = ()


def prepare_text(text: str, rules: TextRules) -> Prepared:
    """Bring `text` into the form of the model's training texts.

    Raises TextError for an empty text. A text of punctuation or emoji alone is not empty: the model
    gets it as it is.
    """
    text = replace_characters(text.strip(), rules)
    if not text:
        raise TextError("There is nothing to speak: the text is empty. Pass at least one word.")
    guess = _GUESS_SHORT if _words(text) < SHORT else _GUESS
    text = finish_end(finish_start(text, rules), rules)
    if rules.pad_with_spaces_for_short_inputs and _words(text) < SHORT:
        text = _PADDING + text
    return Prepared(text, guess)


def split_text(
    text: str,
    tokenizer: Tokenizer,
    rules: TextRules,
    max_tokens: int = MAX_TOKENS,
    *,
    cut_at_words: bool = False,
    glue_short: bool = False,
) -> list[str]:
    """Cut `text` into chunks that are spoken one after the other: see `iter_chunks`."""
    return list(
        iter_chunks(
            text, tokenizer, rules, max_tokens, cut_at_words=cut_at_words, glue_short=glue_short
        )
    )


def iter_chunks(
    text: str,
    tokenizer: Tokenizer,
    rules: TextRules,
    max_tokens: int = MAX_TOKENS,
    *,
    cut_at_words: bool = False,
    glue_short: bool = False,
) -> Iterator[str]:
    """Cut `text` at sentence ends, and sentences of more than `max_tokens` tokens also at `,;:`.

    Neighbours share a chunk while they fit. A chunk without a mark to cut at may be longer than
    `max_tokens`; a warning is logged, because the model may skip words of it. Two options that the
    reference does not have: `cut_at_words` cuts such a chunk between words, and `glue_short` joins
    chunks of one or two words to a neighbour where they fit.

    The text is tokenized on the first `next`; chunks are then cut on demand, in linear time. Raises
    TextError for a text with nothing to speak.
    """
    check_max_tokens(max_tokens)
    ids = tokenizer.encode(prepare_text(text, rules).text.strip())
    how = {"cut_at_words": cut_at_words, "glue_short": glue_short}
    for chunk in cut(ids, tokenizer, max_tokens, **how):
        warn_if_long(chunk, tokenizer, max_tokens)
        yield chunk


def make_prompt(
    chunk: str,
    tokenizer: Tokenizer,
    rules: TextRules,
    frame_rate: float = 12.5,
    frames_after_eos: int | None = None,
) -> Prompt:
    """Prepare one chunk of `iter_chunks` for the model, on its own.

    `frame_rate` is the codec's, in Hz; `frames_after_eos` the configuration's number
    (`model_recommended_frames_after_eos`), None where it leaves it to the text.
    """
    prepared = prepare_text(chunk, rules)
    ids = tuple(tokenizer.encode(str(prepared.text)))
    if frames_after_eos is None:
        frames_after_eos = prepared.frames_after_eos_guess + _EXTRA_FRAMES
    return Prompt(prepared.text, ids, frames_after_eos, max_frames(len(ids), frame_rate))


def max_frames(token_count: int, frame_rate: float = 12.5) -> int:
    """Frames after which a chunk of `token_count` tokens must have ended (3 tokens/s, plus 2 s)."""
    seconds = token_count / SLOWEST_TOKENS_PER_SECOND + EXTRA_SECONDS
    return math.ceil(seconds * frame_rate)


def replace_characters(text: str, rules: TextRules) -> str:
    """The part of the preparation that depends on a few neighbouring characters only."""
    _check_encodable(text)
    if rules.replace_characters:
        text = text.translate(str.maketrans(dict(rules.replace_characters)))
        # A deleted quote can leave a comma behind the mark that ended the quotation.
        text = sub(_COMMA_AFTER_SENTENCE, r"\1", sub(_SPACE, " ", text.strip()))
    text = text.replace("\n", " ").replace("\r", " ").replace("  ", " ")
    return text.replace(";", ",") if rules.remove_semicolons else text


def finish_start(text: str, rules: TextRules) -> str:
    """The part of the preparation that concerns the first letter. `text` must not be empty."""
    if rules.capitalize_first_letter and not text[0].isupper():
        return text[0].upper() + text[1:]
    return text


def finish_end(text: str, rules: TextRules) -> str:
    """End the text in a sentence mark. A weak mark becomes a period; closing quotes and brackets
    stay."""
    if not rules.append_terminal_punctuation:
        return text
    core = text.rstrip(_CLOSERS + " ")
    if core.endswith(_WEAK_MARKS):
        closers = text[len(core) :].strip()
        return core.rstrip("".join(_WEAK_MARKS) + " ") + "." + closers
    if not core or core.endswith(_SENTENCE_MARKS):
        return text
    return text + "."


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"Character {error.start} of the text is half of a surrogate pair, not a character. "
            "Decode the text with the right encoding, or with errors='replace'."
        ) from None


def _words(text: str) -> int:
    return len(text.split())
