"""What training cannot work with. Each message says what to do next."""

from pocket_tts_jax.errors import TTSError


class TrainingError(TTSError, ValueError):
    """Data, options or files of a training run do not go together."""
