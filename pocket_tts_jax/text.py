"""What the model is fed for a text: preparation, then chunks of at most `max_tokens` tokens.

The rules are those of pocket-tts 4.0.1, whose models were trained on single sentences: every
result here is the reference's, character by character. Reading numbers aloud, pauses, lexicons
and other habits of chunking are separate, optional steps (`normalize`, `pauses`, `lexicon`,
`chunks`).
"""

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import ConfigError, TextError
from pocket_tts_jax.tokenizer import Tokenizer

MAX_TOKENS = 50

_log = logging.getLogger(__name__)

_SENTENCE_MARKS = tuple(".!?…")
_WEAK_MARKS = tuple(",;:-–—")
_CLOSERS = "\"'”’)]»"
_COMMA_AFTER_SENTENCE = re.compile(r"([.!?…])\s*[,;:]")

# A text that tokenizes to the marks at which sentences end, respectively over-long sentences are
# cut. The first token is not one of them: it may carry the vocabulary's word-start sign.
_SENTENCE_PROBE = ".!...?"
_CLAUSE_PROBE = ",;:"

_SHORT = 5  # words: below it, padding and more frames after the end
_PADDING = " " * 8
_EXTRA_FRAMES = 2  # frames after the end that every chunk gets on top of the guess


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
    """A text in the form the model knows, and how many frames its end probably needs (1 or 3)."""

    text: str
    frames_after_eos_guess: int


@dataclass(frozen=True)
class Prompt:
    """One chunk as the model is fed it.

    `frames_after_eos` is for callers and configurations that do not set it themselves (3 or 5);
    `max_frames` is where generation stops for want of an end.
    """

    text: str
    ids: tuple[int, ...]
    frames_after_eos: int
    max_frames: int


def prepare_text(text: str, rules: TextRules) -> Prepared:
    """Bring `text` into the form of the model's training texts.

    Raises TextError when nothing is left to speak. Text of only punctuation or emoji is not
    empty: the model gets it as it is.
    """
    _check_encodable(text)
    text = text.strip()
    if rules.replace_characters:
        text = text.translate(str.maketrans(dict(rules.replace_characters)))
        # A deleted quote can leave a comma behind the mark that ended the quotation.
        text = _COMMA_AFTER_SENTENCE.sub(r"\1", " ".join(text.split()))
    if not text:
        raise TextError("There is nothing to speak: the text is empty. Pass at least one word.")
    text = text.replace("\n", " ").replace("\r", " ").replace("  ", " ")
    if rules.remove_semicolons:
        text = text.replace(";", ",")
    guess = 3 if _words(text) < _SHORT else 1
    if rules.capitalize_first_letter and not text[0].isupper():
        text = text[0].upper() + text[1:]
    if rules.append_terminal_punctuation:
        text = _with_terminal_punctuation(text)
    if rules.pad_with_spaces_for_short_inputs and _words(text) < _SHORT:
        text = _PADDING + text
    return Prepared(text, guess)


def split_text(
    text: str, tokenizer: Tokenizer, rules: TextRules, max_tokens: int = MAX_TOKENS
) -> list[str]:
    """Cut `text` into chunks that are spoken one after the other: see `iter_chunks`."""
    return list(iter_chunks(text, tokenizer, rules, max_tokens))


def iter_chunks(
    text: str, tokenizer: Tokenizer, rules: TextRules, max_tokens: int = MAX_TOKENS
) -> Iterator[str]:
    """Cut `text` at sentence ends, sentences of more than `max_tokens` tokens also at `,;:`.

    Neighbours share a chunk while they fit. A chunk that has no mark to be cut at may be longer
    than `max_tokens`: that is logged as a warning, for the model may skip words of it. The text is
    tokenized on the first `next`, the rest of the work is done chunk by chunk, in time
    proportional to the length of the text. Raises TextError when there is nothing to speak.
    """
    if max_tokens < 1:
        raise ConfigError(f"max_tokens must be at least 1, got {max_tokens}.")
    ids = tokenizer.encode(prepare_text(text, rules).text.strip())
    for chunk in pack(iter_segments(ids, tokenizer, max_tokens), max_tokens):
        warn_if_long(chunk, tokenizer, max_tokens)
        yield chunk


def make_prompt(
    chunk: str, tokenizer: Tokenizer, rules: TextRules, frame_rate: float = 12.5
) -> Prompt:
    """What the model is fed for one chunk of `iter_chunks`: the chunk, prepared on its own.

    `frame_rate` is the codec's, in Hz.
    """
    prepared = prepare_text(chunk, rules)
    ids = tuple(tokenizer.encode(prepared.text))
    frames_after_eos = prepared.frames_after_eos_guess + _EXTRA_FRAMES
    return Prompt(prepared.text, ids, frames_after_eos, max_frames(len(ids), frame_rate))


def max_frames(token_count: int, frame_rate: float = 12.5) -> int:
    """Frames after which a chunk of `token_count` tokens must have ended (3 tokens/s, plus 2 s)."""
    return math.ceil((token_count / 3 + 2) * frame_rate)


def iter_segments(
    ids: Sequence[int], tokenizer: Tokenizer, max_tokens: int
) -> Iterator[tuple[int, str]]:
    """The sentences of a tokenized text, or their clauses where over-long: (tokens, text)."""
    sentence_marks = _marks(tokenizer, _SENTENCE_PROBE)
    clause_marks = _marks(tokenizer, _CLAUSE_PROBE)
    cuts = [i for i in _cuts(ids, sentence_marks) if not _within_number(ids, i, tokenizer)]
    for count, sentence in _decoded(ids, cuts, tokenizer):
        clauses = []
        if count > max_tokens:
            clause_ids = tokenizer.encode(sentence.strip())
            clauses = _cuts(clause_ids, clause_marks)
            if clauses:
                yield from _decoded(clause_ids, clauses, tokenizer)
        if not clauses:
            yield count, sentence


def pack(segments: Iterator[tuple[int, str]], max_tokens: int) -> Iterator[str]:
    """Join neighbouring (tokens, text) segments while their tokens add up to `max_tokens`."""
    chunk, used = "", 0
    for count, segment in segments:
        if not chunk:
            chunk, used = segment, count
        elif used + count <= max_tokens:
            chunk, used = f"{chunk} {segment}", used + count
        else:
            yield chunk.strip()
            chunk, used = segment, count
    if chunk:
        yield chunk.strip()


def warn_if_long(chunk: str, tokenizer: Tokenizer, max_tokens: int) -> None:
    """Log a warning about a chunk of which the model may skip words."""
    count = len(tokenizer.encode(chunk))
    if count > max_tokens:
        _log.warning(
            "A chunk has %d tokens, more than the limit of %d, and no punctuation to be cut at; "
            "words of it may be skipped. Make it shorter or add commas: %r",
            count,
            max_tokens,
            chunk if len(chunk) <= 60 else chunk[:60] + "…",
        )


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


def _with_terminal_punctuation(text: str) -> str:
    """End in a sentence mark: a weak mark becomes a period, closing quotes and brackets stay."""
    core = text.rstrip(_CLOSERS + " ")
    if core.endswith(_WEAK_MARKS):
        closers = text[len(core) :].strip()
        return core.rstrip("".join(_WEAK_MARKS) + " ") + "." + closers
    if not core or core.endswith(_SENTENCE_MARKS):
        return text
    return text + "."


def _marks(tokenizer: Tokenizer, probe: str) -> frozenset[int]:
    return frozenset(tokenizer.encode(probe)[1:])


def _cuts(ids: Sequence[int], marks: frozenset[int]) -> list[int]:
    """Positions right behind each run of marks."""
    return [i for i in range(1, len(ids)) if ids[i - 1] in marks and ids[i] not in marks]


def _decoded(
    ids: Sequence[int], cuts: Sequence[int], tokenizer: Tokenizer
) -> Iterator[tuple[int, str]]:
    """The pieces of `ids` between the cuts, as (tokens, text)."""
    for start, end in zip([0, *cuts], [*cuts, len(ids)], strict=True):
        yield end - start, tokenizer.decode(ids[start:end])


def _within_number(ids: Sequence[int], cut: int, tokenizer: Tokenizer) -> bool:
    """Whether `cut` lies behind the point of a number such as 3.14.

    That takes the two characters before the cut and the one behind it. They are decoded from a
    few tokens around the cut rather than from the whole text, which would take quadratic time.
    """
    after = _edge(lambda n: tokenizer.decode(ids[cut : cut + n])[:1], len(ids) - cut, 1)
    if not after.isdigit():
        return False
    before = _edge(lambda n: tokenizer.decode(ids[max(0, cut - n) : cut])[-2:], cut, 2)
    return len(before) == 2 and before[0].isdigit() and before[1] == "."


def _edge(decode_edge: Callable[[int], str], available: int, characters: int) -> str:
    """The `characters` at one edge of a text, given that edge of any number of its tokens.

    Control tokens decode to nothing, so the window grows until it holds enough characters. A
    window that cuts through a character spelled in byte tokens decodes it (and byte tokens next to
    it) to U+FFFD; a character has at most four bytes, so of four successive sizes one does not.
    """
    size = 4
    while size < available and len(decode_edge(size)) < characters:
        size *= 2
    edges = (decode_edge(n) for n in range(size, size + 4))
    return next((edge for edge in edges if "\ufffd" not in edge), "\ufffd" * characters)
