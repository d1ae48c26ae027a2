"""`voice.json` in a model's folder: settings that the configuration format does not have."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from pocket_tts_jax.config import MAX_TOKENS
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.files.read import LARGEST_JSON, parse_json, read_text
from pocket_tts_jax.files.verify import damage

FILE = "voice.json"
_MOST_TOKENS = 1000


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
    def read(cls, folder: str | Path) -> "ModelSettings":
        """The settings of a folder; the defaults if it has no file. Raises ConfigError."""
        path = Path(folder) / FILE
        if not path.exists():
            return cls()
        try:
            settings = cls(**parse_json(read_text(path, LARGEST_JSON)))
            if (reason := damage(path) or settings._mistake()) is not None:
                raise ValueError(reason)
            return settings
        except (OSError, ValueError, TypeError) as error:
            known = ", ".join(f.name for f in dataclasses.fields(cls))
            raise ConfigError(f"{path} cannot be used ({error}). Its keys are: {known}.") from None

    def _mistake(self) -> str | None:
        """What is of another type or range than it must be."""
        if type(self.max_tokens) is not int or not 0 < self.max_tokens <= _MOST_TOKENS:
            return f"max_tokens must be a number from 1 to {_MOST_TOKENS}"
        if type(self.has_voice_cloning) is not bool or type(self.normalize) is not bool:
            return "has_voice_cloning and normalize must be true or false"
        texts = (self.default_voice, self.notice)
        if not all(text is None or isinstance(text, str) for text in texts):
            return "default_voice and notice must be texts"
        return None
