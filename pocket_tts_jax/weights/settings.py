"""`voice.json` in a model's folder: settings that the configuration format does not have."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from pocket_tts_jax.config import MAX_TOKENS
from pocket_tts_jax.errors import ConfigError

FILE = "voice.json"


@dataclass(frozen=True)
class ModelSettings:
    """Settings of one model. The defaults are those of Kyutai's.

    max_tokens: longest chunk of text, in tokens. default_voice: name of the voice used if the user
    names none. has_voice_cloning: whether the encoder is trained. normalize: whether numbers must
    be written as words. notice: what a user must know before using the model. alignment_heads:
    [layer, head] pairs whose attention follows the text.
    """

    max_tokens: int = MAX_TOKENS
    default_voice: str | None = None
    has_voice_cloning: bool = True
    normalize: bool = False
    notice: str | None = None
    alignment_heads: list[list[int]] | None = None

    @classmethod
    def read(cls, folder: Path) -> "ModelSettings":
        """The settings of a folder; the defaults if it has no file. Raises ConfigError."""
        path = folder / FILE
        if not path.exists():
            return cls()
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            return cls(**raw)
        except (OSError, ValueError, TypeError) as error:
            known = ", ".join(f.name for f in dataclasses.fields(cls))
            raise ConfigError(f"{path} cannot be used ({error}). Its keys are: {known}.") from None
