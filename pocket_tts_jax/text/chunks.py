"""Cuts a tokenized text into chunks of a few sentences.

`iter_sentences`, `iter_segments` and `pack` cut where the reference cuts. `cut_long_chunks` and
`glue_short_chunks` are optional additions: models skip words of long chunks and garble chunks of
one or two words.
"""

import bisect
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.text.tokenizer import Tokenizer

_log = logging.getLogger(__name__)

# Texts whose tokens are the marks that end a sentence and a clause. The first token is left out: it
# may carry the vocabulary's word-start sign.
_SENTENCE_PROBE = ".!...?"
_CLAUSE_PROBE = ",;:"

_FEW_WORDS = 3


def check_max_tokens(max_tokens: int) -> None:
    """Raise ConfigError for a limit below 1."""
    if max_tokens < 1:
        raise ConfigError(f"max_tokens must be at least 1, got {max_tokens}.")


def cut(
    ids: Sequence[int],
    tokenizer: Tokenizer,
    max_tokens: int,
    *,
    cut_at_words: bool = False,
    glue_short: bool = False,
) -> Iterator[str]:
    """Cut a tokenized text into chunks of up to `max_tokens` tokens, as far as its marks allow."""
    segments = iter_segments(iter_sentences(ids, tokenizer), tokenizer, max_tokens)
    chunks = pack(segments, max_tokens)
    if cut_at_words:
        chunks = cut_long_chunks(chunks, tokenizer, max_tokens)
    if glue_short:
        chunks = glue_short_chunks(chunks, tokenizer, max_tokens)
    return chunks


def iter_sentences(ids: Sequence[int], tokenizer: Tokenizer) -> Iterator[tuple[int, str]]:
    """The sentences of a tokenized text, as (tokens, text)."""
    marks = _marks(tokenizer, _SENTENCE_PROBE)
    cuts = (i for i in _cuts(ids, marks) if not _within_number(ids, i, tokenizer))
    return _decoded(ids, cuts, tokenizer)


def iter_segments(
    sentences: Iterable[tuple[int, str]], tokenizer: Tokenizer, max_tokens: int
) -> Iterator[tuple[int, str]]:
    """The same sentences; those of more than `max_tokens` tokens are cut into clauses."""
    marks = _marks(tokenizer, _CLAUSE_PROBE)
    for count, sentence in sentences:
        clauses = []
        if count > max_tokens:
            ids = tokenizer.encode(sentence.strip())
            clauses = list(_decoded(ids, _cuts(ids, marks), tokenizer))
        yield from clauses if len(clauses) > 1 else [(count, sentence)]


class Packer:
    """Joins neighbouring segments to chunks while their tokens add up to `max_tokens`."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self.begun, self._used = "", 0

    def add(self, count: int, segment: str) -> str | None:
        """Add a segment of `count` tokens. Returns the chunk before it when it did not fit."""
        if self.begun and self._used + count <= self._max_tokens:
            self.begun, self._used = f"{self.begun} {segment}", self._used + count
            return None
        chunk = self.rest()
        self.begun, self._used = segment, count
        return chunk

    def rest(self) -> str | None:
        """The unfinished chunk, if any; the next segment starts a new one."""
        chunk, self.begun = self.begun, ""
        return chunk.strip() if chunk else None


def pack(segments: Iterable[tuple[int, str]], max_tokens: int) -> Iterator[str]:
    """Join neighbouring (tokens, text) segments while their tokens add up to `max_tokens`."""
    packer = Packer(max_tokens)
    for count, segment in segments:
        chunk = packer.add(count, segment)
        if chunk is not None:
            yield chunk
    chunk = packer.rest()
    if chunk is not None:
        yield chunk


def cut_long_chunks(chunks: Iterable[str], tokenizer: Tokenizer, max_tokens: int) -> Iterator[str]:
    """Cut chunks of more than `max_tokens` tokens between words, into parts of about one length.

    A single word that is too long stays whole.
    """
    for chunk in chunks:
        if len(tokenizer.encode(chunk)) > max_tokens:
            yield from _cut_between_words(chunk, tokenizer, max_tokens)
        else:
            yield chunk


def glue_short_chunks(
    chunks: Iterable[str], tokenizer: Tokenizer, max_tokens: int
) -> Iterator[str]:
    """Join chunks of one or two words to a neighbour, as far as `max_tokens` allows.

    The next chunk is tried first, then the previous one. If both are too full, the last segment of
    the previous chunk is moved here, unless fewer than three words would remain there.
    """

    def fits(chunk: str) -> bool:
        return len(tokenizer.encode(chunk)) <= max_tokens

    remaining = iter(chunks)
    previous, current = None, next(remaining, None)
    while current is not None:
        following = next(remaining, None)
        if is_short(current):
            if following is not None and fits(f"{current} {following}"):
                current = f"{current} {following}"
                continue
            if previous is not None and fits(f"{previous} {current}"):
                previous, current = f"{previous} {current}", following
                continue
            if previous is not None:
                kept, moved = _without_last_segment(previous, tokenizer, max_tokens)
                if not is_short(kept) and fits(f"{moved} {current}"):
                    previous, current = kept, f"{moved} {current}"
        if previous is not None:
            yield previous
        previous, current = current, following
    if previous is not None:
        yield previous


def is_short(chunk: str) -> bool:
    """Whether a chunk has fewer than three words: models may garble it."""
    return len(chunk.split()) < _FEW_WORDS


def as_written(chunks: Iterable[str], text: str, decoded: str) -> Iterator[str]:
    """The part of the user's `text` behind each chunk.

    For tokenizers that decode to other characters, such as phonemes: `chunks` are parts of
    `decoded`, the decoded tokens of `text`. Chunks are mapped word by word, by counting characters
    other than spaces. If the numbers of words differ, the chunks are returned unchanged.
    """
    words, read = text.split(), decoded.split()
    if len(words) != len(read):
        yield from chunks
        return
    ends = list(itertools.accumulate(map(len, read)))
    first = taken = 0
    for chunk in chunks:
        taken += sum(map(len, chunk.split()))
        last = bisect.bisect_left(ends, taken)
        yield " ".join(words[first : last + 1])
        first = last + (ends[last : last + 1] == [taken])  # a cut word belongs to both chunks


def warn_if_long(
    chunk: str, tokenizer: Tokenizer, max_tokens: int, written: str | None = None
) -> None:
    """Log a warning about a chunk that is too long. `written` is the user's text for it, if the
    chunk itself is in phonemes."""
    count = len(tokenizer.encode(chunk))
    if count > max_tokens:
        text = chunk if written is None else written
        _log.warning(
            "A chunk has %d tokens, more than the limit of %d: words of it may be skipped. Use "
            "shorter sentences, or commas in them, or have it cut between words (--cut-at-words): "
            "%r",
            count,
            max_tokens,
            text if len(text) <= 60 else text[:60] + "…",
        )


def _marks(tokenizer: Tokenizer, probe: str) -> frozenset[int]:
    return frozenset(tokenizer.encode(probe)[1:])


def _cuts(ids: Sequence[int], marks: frozenset[int]) -> Iterator[int]:
    """Positions right after each run of marks."""
    return (i for i in range(1, len(ids)) if ids[i - 1] in marks and ids[i] not in marks)


def _decoded(
    ids: Sequence[int], cuts: Iterable[int], tokenizer: Tokenizer
) -> Iterator[tuple[int, str]]:
    """The pieces of `ids` between the cuts, as (tokens, text)."""
    start = 0
    for end in itertools.chain(cuts, [len(ids)]):
        yield end - start, tokenizer.decode(ids[start:end])
        start = end


def _within_number(ids: Sequence[int], cut: int, tokenizer: Tokenizer) -> bool:
    """Whether `cut` lies after the point of a number such as 3.14.

    Looks at the two characters before the cut and the one after it. They are decoded from a few
    tokens around the cut: decoding the whole text each time would take quadratic time.
    """
    after = _edge(lambda n: tokenizer.decode(ids[cut : cut + n])[:1], len(ids) - cut, 1)
    if not after.isdigit():
        return False
    before = _edge(lambda n: tokenizer.decode(ids[max(0, cut - n) : cut])[-2:], cut, 2)
    return len(before) == 2 and before[0].isdigit() and before[1] == "."


def _edge(decode_edge: Callable[[int], str], available: int, characters: int) -> str:
    """The first or last `characters` of a text; `decode_edge(n)` decodes n tokens at that edge.

    Control tokens decode to nothing, so the window grows until it holds enough characters. A window
    that cuts a character spelled in byte tokens decodes to U+FFFD there. A character has at most
    four bytes, so one of four successive sizes is free of it.
    """
    size = 4
    while size < available and len(decode_edge(size)) < characters:
        size *= 2
    edges = (decode_edge(n) for n in range(size, size + 4))
    return next((edge for edge in edges if "\ufffd" not in edge), "\ufffd" * characters)


def _without_last_segment(chunk: str, tokenizer: Tokenizer, max_tokens: int) -> tuple[str, str]:
    """Split a chunk into its last segment and everything before it (returned first)."""
    sentences = iter_sentences(tokenizer.encode(chunk), tokenizer)
    segments = [text.strip() for _, text in iter_segments(sentences, tokenizer, max_tokens)]
    return " ".join(segments[:-1]), segments[-1]


def _cut_between_words(chunk: str, tokenizer: Tokenizer, max_tokens: int) -> Iterator[str]:
    overhead = len(tokenizer.encode(""))
    words = chunk.split()
    counts = [len(tokenizer.encode(f" {word}")) - overhead for word in words]
    room = max(1, max_tokens - overhead)
    enough = sum(counts) / math.ceil(sum(counts) / room)
    start = 0
    while start < len(words):
        end, used = start + 1, counts[start]
        while end < len(words) and used + counts[end] <= room and used < enough:
            used += counts[end]
            end += 1
        # Words can take more tokens together than each by itself.
        while end - start > 1 and len(tokenizer.encode(" ".join(words[start:end]))) > max_tokens:
            end -= 1
        yield " ".join(words[start:end])
        start = end
