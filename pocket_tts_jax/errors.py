"""The errors a user of pocket_tts_jax can meet. Each message says what to do next."""


class TTSError(Exception):
    """Base of every error that pocket_tts_jax raises on purpose."""


class ConfigError(TTSError, ValueError):
    """A configuration is unknown, incomplete, or contradicts itself or the caller's arguments."""


class CheckpointError(TTSError, ValueError):
    """A weight file is damaged, or does not hold the tensors its configuration asks for."""


class TextError(TTSError, ValueError):
    """There is nothing to speak in a text, or a text mark cannot be understood."""


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
