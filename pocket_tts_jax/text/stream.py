"""Cuts text that arrives in pieces, such as a language model's answer, into chunks.

The chunks equal those of the whole text, wherever the pieces are cut. A chunk is complete when the
sentence that does not fit into it has ended. There is no timeout: a caller that has waited long
enough for more text ends the text.
"""

import re
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import cast

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.text.chunks import (
    Packer,
    check_max_tokens,
    cut_long_chunks,
    glue_short_chunks,
    iter_segments,
    iter_sentences,
)
from pocket_tts_jax.text.pauses import Pause, split_pauses
from pocket_tts_jax.text.pipeline import Cutter, Item, first_clause, nothing_to_speak
from pocket_tts_jax.text.prepare import (
    Prompt,
    TextRules,
    finish_end,
    finish_start,
    replace_characters,
)
from pocket_tts_jax.text.tokenizer import Tokenizer
from pocket_tts_jax.text.traced import Traced, joined
from pocket_tts_jax.text.words import WordFinder

# Where a text may be tokenized in two parts: at the space after a sentence, before a word.
_SEAM = re.compile(r"(?<=[.!?…\"'”’)\]»])[ \n\r]+(?=([^\W_]))")
# Where a text may be rewritten in two parts, depending on the next word: not in "No. 5".
_CLAUSE = re.compile(r"(?<=[.!?…,;:\"'”’)\]»])\s+(?=(?P<word>[^\W_]\S*)\s)")
_OTHER_WORD = "then"  # a word that no rule rewrites
_WORD = re.compile(r"\S+")
# A pause mark, and what comes behind it up to the next part's first letter or digit.
_MARK = re.compile(
    r"(?:\[pause\b[^\[\]]*\]|</?[A-Za-z][^<>]*>)[.,;:!?…]*\s*(?=[^\[<]*?[^\W_])", re.IGNORECASE
)
# Where a mark may begin, and the space before it.
_MAY_BE_MARK = re.compile(r"\s*(?:\[(?=p|\Z)|<(?=[/a-z]|\Z)|\Z)", re.IGNORECASE)


def iter_pieces(pieces: Iterable[str], cutter: Cutter, *, words: bool = False) -> Iterator[Item]:
    """The prompts and pauses of all `pieces` together, each as soon as it is complete.

    They equal those of `cutter.items` for the whole text, with `words` including their words.
    Raises TextError at the end if there was nothing to speak.
    """
    raw = _Raw(words)
    added = map(raw.add, pieces)
    parts: Iterator[str | Pause] = _split_pauses(added) if cutter.options.pauses else added
    early, spoken = cutter.options.early_start, False
    pauses: list[Pause] = []

    def segment() -> Iterator[str]:
        for part in parts:
            if isinstance(part, Pause):
                pauses.append(part)
                return
            yield part

    while True:
        for prompt in _prompts(segment(), cutter, raw, early):
            early, spoken = False, True
            yield prompt
        if not pauses:
            break
        spoken = True
        yield pauses.pop()
    if not spoken:
        raise nothing_to_speak()


class _Raw:
    """The user's text so far. If words are wanted, its parts are traced."""

    def __init__(self, traced: bool) -> None:
        self.traced, self._text = traced, ""

    def add(self, piece: str) -> str:
        if not self.traced:
            return piece
        start, self._text = len(self._text), self._text + piece
        return self._part(start, len(self._text))

    def behind(self, text: str) -> str:
        """What the user wrote for a text that was made of it."""
        return self._part(*text.span(0, len(text))) if isinstance(text, Traced) else text

    def _part(self, start: int, end: int) -> Traced:
        places = array("q", range(start, end)), array("q", range(start + 1, end + 1))
        return Traced(self._text[start:end], *places)


def _split_pauses(pieces: Iterable[str]) -> Iterator[str | Pause]:
    """Text and pauses, as `split_pauses` finds them in the whole."""
    held = ""
    for piece in pieces:
        held += piece
        while mark := _MARK.search(held):
            yield from _segments(held[: mark.end()])
            held = held[mark.end() :]
        beginning = _MAY_BE_MARK.search(held)
        end = beginning.start() if beginning else len(held)
        yield held[:end]
        held = held[end:]
    yield from _segments(held)


def _segments(text: str) -> Iterator[str | Pause]:
    """`split_pauses` of a text that continues another, for which a letter stands in."""
    first, *others = split_pauses("x" + text)
    if isinstance(first, str):
        yield first[1:]
    yield from others


def _prompts(pieces: Iterator[str], cutter: Cutter, raw: _Raw, early: bool) -> Iterator[Prompt]:
    """The prompts of one text without pauses."""
    texts = _rewritten(pieces, cutter) if cutter.rewrites else pieces
    if early:
        text, end = "", None
        while end is None and (more := next(texts, None)) is not None:
            text += more
            # What was rewritten up to a space is followed by a word.
            known = "x" if cutter.rewrites and text[-1:].isspace() else ""
            end = first_clause(text + known)
        if text.strip():
            yield from cutter.prompts(text[:end], raw.behind(text[:end]))
        if end is None:
            return
        texts = chain([text[end:]], texts)
    written = _Written(cutter) if cutter.own_letters or raw.traced else None
    chunks = _chunks(texts, cutter, written)
    if cutter.options.glue_short_chunks:
        chunks = glue_short_chunks(chunks, cutter.tokenizer, cutter.max_tokens)
    for chunk in chunks:
        name = chunk if written is None else written.take(chunk)
        finder = None
        if isinstance(name, Traced):
            finder = WordFinder(cast(Traced, raw.behind(name)), name, cutter.tokenizer)
        yield cutter.prompt(chunk, str(name), finder)


def _rewritten(pieces: Iterator[str], cutter: Cutter) -> Iterator[str]:
    """The rewritten text in parts. A part ends before a word that does not affect how the text
    before it is rewritten, and is not affected by it."""
    held, scanned = "", 0
    for piece in pieces:
        held += piece
        while clause := _CLAUSE.search(held, scanned):
            scanned = clause.end()
            both = cutter.rewrite(held[: clause.end("word")])
            other = cutter.rewrite(f"{held[: clause.start()]} {_OTHER_WORD}")
            word = cutter.rewrite(clause["word"])
            apart = bool(word) and both.endswith(word) and other.endswith(_OTHER_WORD)
            before = both[: len(both) - len(word)]
            if apart and before.split() == other[: -len(_OTHER_WORD)].split():
                yield before
                held, scanned = held[clause.end() :], 0
        scanned = max(scanned, _last_word(held))
    yield cutter.rewrite(held)


def _last_word(text: str) -> int:
    """Where the space before the last word begins: only there a new clause can come into sight."""
    words = text.rstrip()
    if words and words == text:
        words = words[: -len(words.rsplit(maxsplit=1)[-1])].rstrip()
    return len(words)


def _chunks(texts: Iterator[str], cutter: Cutter, written: "_Written | None") -> Iterator[str]:
    stream = TextStream(
        cutter.tokenizer,
        cutter.rules,
        cutter.max_tokens,
        cut_at_words=cutter.options.cut_at_words,
    )
    for text in texts:
        if written is not None:
            written.add(text)
        yield from stream.feed(str(text))
    if written is not None:
        written.end()
    yield from stream.flush()


class _Written:
    """The user's text for chunks to come, if chunks do not contain it (phonemes) or its trace is
    wanted. Assigned word by word, as in `as_written`."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter, self._begun, self._lost = cutter, "", False
        self._words: deque[tuple[str, int]] = deque()  # with the length of its reading

    def add(self, text: str) -> None:
        self._begun += text
        complete = 0
        for word in _WORD.finditer(self._begun):
            if word.end() < len(self._begun):
                self._take_in(self._begun[word.start() : word.end()])
                complete = word.end()
        self._begun = self._begun[complete:]

    def end(self) -> None:
        """The text is complete."""
        last, self._begun = self._begun.strip(), ""
        if last:
            self._take_in(last)
        if self._words:
            word, length = self._words.pop()
            self._words.append((finish_end(word, self._cutter.rules), length))

    def take(self, chunk: str) -> str:
        """The user's text for the next chunk; the chunk itself if it is not known."""
        missing, words = sum(map(len, chunk.split())), []
        while self._words and missing > 0:
            word, length = self._words.popleft()
            words.append(word)
            if length > missing:  # a cut word belongs to both chunks
                self._words.appendleft((word, length - missing))
            missing -= length
        if not words:
            return chunk
        spaced = [words[0], *(part for word in words[1:] for part in (" ", word))]
        if isinstance(words[0], Traced):
            return joined(spaced)
        return chunk if self._lost else "".join(spaced)

    def _take_in(self, word: str) -> None:
        tokenizer = self._cutter.tokenizer
        word = replace_characters(word, self._cutter.rules)
        read = tokenizer.decode(tokenizer.encode(str(word))).split()
        self._lost = self._lost or len(read) != 1
        self._words.append((word, sum(map(len, read))))


class TextStream:
    """Cuts pieces of text, fed one after the other, into the chunks that `split_text` makes.

    `cut_at_words` is that of `iter_chunks`; to glue short chunks, pass the chunks on through
    `glue_short_chunks`. Not for use by several threads at once. Raises ConfigError for a tokenizer
    whose tokens reach across spaces.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        rules: TextRules,
        max_tokens: int,
        *,
        cut_at_words: bool = False,
    ) -> None:
        check_max_tokens(max_tokens)
        self._tokenizer, self._rules, self._max_tokens = tokenizer, rules, max_tokens
        self._cut_at_words = cut_at_words
        self._overhead = len(tokenizer.encode(""))
        self._space = _space_of(tokenizer, self._overhead)
        self._restart()

    def feed(self, piece: str) -> list[str]:
        """Add the next piece, of any length. Returns the chunks that it completes."""
        scan_from = max(0, len(self._tail.rstrip()) - 1)
        self._tail += piece
        chunks = []
        while seam := _SEAM.search(self._tail, scan_from):
            scan_from = seam.end()
            if seam[1] in self._rules.replace_characters:
                continue
            part, self._tail = self._tail[: seam.start()], self._tail[seam.start() :]
            scan_from -= seam.start()
            chunks += self._take(replace_characters(part, self._rules), seam[1])
        return chunks

    def flush(self) -> list[str]:
        """End the text: returns its last chunks, and starts a new text."""
        text = replace_characters(self._tail.rstrip(), self._rules)
        chunks = self._take(finish_end(text, self._rules), None) if text else []
        chunks += self._finished(self._packer.rest())
        self._restart()
        return chunks

    def _restart(self) -> None:
        self._tail = ""  # text that is not tokenized yet
        self._open: list[int] = []  # tokens of the sentence that has begun
        self._empty = True  # nothing has been tokenized
        self._packer = Packer(self._max_tokens)

    def _take(self, text: str, following: str | None) -> list[str]:
        """Tokenize more of the text; `following` is the letter after it and a space, if any."""
        if self._empty:
            text = text.lstrip()
            if not text:
                return []
            ids = self._tokenizer.encode(finish_start(text, self._rules))
            self._empty = False
        else:
            ids = self._open + self._continued(text)
        behind = self._continued(following) if following else []
        sentences = list(iter_sentences([*ids, *behind], self._tokenizer))
        # The last sentence is not complete, unless it consists of the following letter alone.
        self._open = []
        if following:
            count, _ = sentences.pop()
            self._open = ids[len(ids) + len(behind) - count :]
        return self._pack(sentences)

    def _continued(self, text: str) -> list[int]:
        """Tokens of text that follows a space."""
        blank = len(text) - len(text.lstrip(" "))
        lead = " " * (max(1, blank) - 1) + self._space
        return self._tokenizer.encode(lead + text[blank:])[self._overhead :]

    def _pack(self, sentences: Iterable[tuple[int, str]]) -> list[str]:
        chunks = []
        for sentence in sentences:
            for segment in iter_segments([sentence], self._tokenizer, self._max_tokens):
                chunks += self._finished(self._packer.add(*segment))
        return chunks

    def _finished(self, chunk: str | None) -> list[str]:
        if chunk is None:
            return []
        chunks = [chunk]
        if self._cut_at_words:
            return list(cut_long_chunks(chunks, self._tokenizer, self._max_tokens))
        return chunks


def _space_of(tokenizer: Tokenizer, overhead: int) -> str:
    """The prefix with which a word is tokenized as after a space."""
    whole = tokenizer.encode("A. A")
    for space in (" ", ""):
        if tokenizer.encode("A.") + tokenizer.encode(space + "A")[overhead:] == whole:
            return space
    raise ConfigError(
        "This tokenizer does not treat words apart from each other, so text cannot be streamed "
        "into it. Collect the whole text and use split_text."
    )
