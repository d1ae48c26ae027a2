"""Text that arrives in pieces, such as a language model's answer, cut into chunks as it comes.

The chunks are those of the whole text: where the pieces begin and end changes nothing. A chunk
leaves as soon as the sentence that does not fit into it has ended. Nothing here keeps time: a
caller that has waited long enough for more text calls `flush`.
"""

import re
from collections.abc import Iterable, Iterator

from pocket_tts_jax.config import MAX_TOKENS
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.text.chunks import (
    Packer,
    check_max_tokens,
    cut_long_chunks,
    is_short,
    iter_segments,
    iter_sentences,
    warn_if_long,
)
from pocket_tts_jax.text.prepare import (
    TextRules,
    finish_end,
    finish_start,
    replace_characters,
)
from pocket_tts_jax.text.tokenizer import Tokenizer

# Where a text may be tokenized in two parts: at the space after a sentence, before a word.
_SEAM = re.compile(r"(?<=[.!?…\"'”’)\]»])[ \n\r]+(?=([^\W_]))")


class TextStream:
    """Cuts pieces of text, fed one after the other, into the chunks that `split_text` makes.

    With `first_sentence_at_once` the first sentence leaves as soon as it has ended, so that speech
    can begin early (after a sentence of one or two words, the next one too); the others are packed
    as usual. `cut_at_words` is that of `iter_chunks`; to glue short chunks, pass the chunks on
    through `glue_short_chunks`.

    Not for use by several threads at once. Raises ConfigError for a tokenizer whose tokens reach
    across spaces.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        rules: TextRules,
        max_tokens: int = MAX_TOKENS,
        *,
        cut_at_words: bool = False,
        first_sentence_at_once: bool = False,
    ) -> None:
        check_max_tokens(max_tokens)
        self._tokenizer, self._rules, self._max_tokens = tokenizer, rules, max_tokens
        self._cut_at_words, self._first_at_once = cut_at_words, first_sentence_at_once
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
        self._hurry = self._first_at_once
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
            if self._hurry and (chunks or not is_short(self._packer.begun)):
                chunks += self._finished(self._packer.rest())
                self._hurry = False
        return chunks

    def _finished(self, chunk: str | None) -> list[str]:
        if chunk is None:
            return []
        chunks = [chunk]
        if self._cut_at_words:
            chunks = list(cut_long_chunks(chunks, self._tokenizer, self._max_tokens))
        for part in chunks:
            warn_if_long(part, self._tokenizer, self._max_tokens)
        return chunks


def stream_chunks(
    pieces: Iterable[str], tokenizer: Tokenizer, rules: TextRules, max_tokens: int = MAX_TOKENS
) -> Iterator[str]:
    """The chunks of all `pieces` together, each as soon as it is complete."""
    stream = TextStream(tokenizer, rules, max_tokens)
    for piece in pieces:
        yield from stream.feed(piece)
    yield from stream.flush()


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
