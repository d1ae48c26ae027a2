"""The errors that pocket_tts_jax raises. Each message says what to do next."""


class TTSError(Exception):
    """Base of every error that pocket_tts_jax raises on purpose."""


class ConfigError(TTSError, ValueError):
    """A configuration or an option is unknown, incomplete or contradictory."""


class CheckpointError(TTSError, ValueError):
    """A weight file is damaged, or its tensors do not match the configuration."""


class TextError(TTSError, ValueError):
    """A text has nothing to speak, or a mark in it cannot be understood."""


class VoiceError(TTSError, ValueError):
    """A voice is unknown, unreadable, or was made for another model."""


class VoiceCloningUnavailable(VoiceError):
    """A recording was given as the voice of a model that has no encoder for recordings."""


class AudioError(TTSError, ValueError):
    """An audio file or stream cannot be read or written."""


class DownloadError(TTSError, OSError):
    """A file could not be fetched and is not in the cache."""


class GenerationError(TTSError, RuntimeError):
    """Speech could not be generated from valid input."""


class ConfigNotFound(ConfigError, FileNotFoundError):
    """There is no model, configuration or lexicon of that name or at that path."""


class CheckpointNotFound(CheckpointError, FileNotFoundError):
    """There is no weight file, tokenizer or export at that path."""


class VoiceNotFound(VoiceError, FileNotFoundError):
    """There is no voice file at that path."""


class AudioNotFound(AudioError, FileNotFoundError):
    """There is no recording at that path."""


class SourceNotFound(DownloadError, FileNotFoundError):
    """There is no file at that path or address."""
