"""The tokenizer of a training run: SentencePiece's own object, because pieces are needed too."""

from pathlib import Path
from typing import TYPE_CHECKING

from training.errors import TrainingError

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor


def open_tokenizer(path: Path) -> "SentencePieceProcessor":
    """TrainingError where the file is missing or no SentencePiece model."""
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise TrainingError(
            f"{path} cannot be read as a SentencePiece model ({error}). Make one with python -m "
            "training.tokens, or give the tokenizer.model of a model folder."
        ) from error
