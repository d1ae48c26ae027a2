"""Text to token ids and back, for the two kinds of vocabulary that checkpoints come with.

The configuration names the kind (`flow_lm.lookup_table.tokenizer`); the library of the other kind
is never imported. Tokenizers keep no state between calls, so threads may share one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pocket_tts_jax.errors import CheckpointError, CheckpointNotFound, ConfigError
from pocket_tts_jax.files.verify import damage

_PROBE = "The quick brown fox jumps over the lazy dog, isn't it? 1234567890"


class Tokenizer(Protocol):
    """The interface of a vocabulary."""

    @property
    def n_bins(self) -> int:
        """Number of token ids; ids are in [0, n_bins)."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, including control tokens that the vocabulary adds (such as `<s>`)."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`. Control tokens are dropped; unknown ones are left to the library."""
        ...

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters of `text`, as (start, end), that each id of `encode` stands for."""
        ...

    def pieces(self, text: str) -> list[str]:
        """What each id of `encode(text)` decodes to, apart from white space: together they are
        the characters of `decode(encode(text))`."""
        ...


class SentencePieceTokenizer:
    """A SentencePiece model (`tokenizer.model`)."""

    def __init__(self, path: Path) -> None:
        import sentencepiece

        self._processor = sentencepiece.SentencePieceProcessor(str(path))
        self.n_bins = self._processor.vocab_size()

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text, out_type=int)

    def decode(self, ids: Sequence[int]) -> str:
        return self._processor.decode(list(ids))

    def spans(self, text: str) -> list[tuple[int, int]]:
        return self._processor.encode(text, return_type="offset_mapping")["offsets"]

    def pieces(self, text: str) -> list[str]:
        decoded = self._processor.decode(self.encode(text), return_type="offset_mapping")
        return [decoded["text"][start:end] for start, end in decoded["offsets"]]


class JsonTokenizer:
    """A vocabulary of the Hugging Face `tokenizers` library (`tokenizer.json`)."""

    def __init__(self, path: Path) -> None:
        import tokenizers

        self._path = path
        with self._no_panic():
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
            # A file may ask for texts of any length, filled up to a size that no memory holds.
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            self.n_bins = self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        with self._no_panic():
            return self._tokenizer.encode(text).ids

    def decode(self, ids: Sequence[int]) -> str:
        with self._no_panic():
            return self._tokenizer.decode(ids)

    @contextmanager
    def _no_panic(self) -> Iterator[None]:
        """A panic of the library's Rust code is no Exception and would pass every handler."""
        try:
            yield
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise CheckpointError(
                f"The tokenizer {self._path} contradicts itself ({error}). Fetch the file again."
            ) from None

    def spans(self, text: str) -> list[tuple[int, int]]:
        return self._tokenizer.encode(text).offsets

    def pieces(self, text: str) -> list[str]:
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        return [stream.step(self._tokenizer, token) or "" for token in self.encode(text)]


KINDS = {
    "sentencepiece": SentencePieceTokenizer,
    "tokenizers": JsonTokenizer,
    "json": JsonTokenizer,
}


def load_tokenizer(kind: str, path: str | Path, n_bins: int) -> Tokenizer:
    """Open the vocabulary at the local `path` and check that it has `n_bins` entries.

    `kind` is "sentencepiece" or "tokenizers" ("json" is the same); a path that ends in `.json` is
    read as the latter whatever `kind` says, because some published configurations rely on it.
    Raises ConfigError for an unknown kind or another size than the configuration's, and
    CheckpointError for a file that is missing or damaged.
    """
    path = Path(path)
    if kind not in KINDS:
        raise ConfigError(f"Unknown tokenizer kind {kind!r}: use one of {', '.join(KINDS)}.")
    if not path.is_file():
        raise CheckpointNotFound(
            f"There is no tokenizer file at {path}. Put the model's tokenizer there, or correct "
            "`flow_lm.lookup_table.tokenizer_path` in its configuration."
        )
    if (reason := damage(path)) is not None:
        raise CheckpointError(f"{reason} Fetch it again.")
    backend = JsonTokenizer if path.suffix == ".json" else KINDS[kind]
    try:
        tokenizer = backend(path)
    except Exception as error:  # both libraries raise bare Exception or RuntimeError
        raise CheckpointError(
            f"{path} cannot be read as a {backend.__name__}: {error}. Fetch the file again, and "
            "check that `flow_lm.lookup_table.tokenizer` names its kind."
        ) from error
    if tokenizer.n_bins != n_bins:
        raise ConfigError(
            f"{path} holds {tokenizer.n_bins} tokens, but the configuration says n_bins: {n_bins}. "
            "Use the tokenizer that came with the checkpoint."
        )
    ids = tokenizer.encode(_PROBE)
    if any(not 0 <= token < n_bins for token in ids):
        raise CheckpointError(
            f"The tokenizer {path} gives token {max(ids)}, but it has {n_bins}. Fetch it again."
        )
    return tokenizer
