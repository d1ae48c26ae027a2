"""What ends a command of `training` early."""

from pocket_tts_jax.errors import TTSError


class TrainingError(TTSError, ValueError):
    """Data, options or files of a training run do not go together. The message says what to do
    next."""


class Interrupted(Exception):
    """A signal ended a run before its last step. Everything is saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal
