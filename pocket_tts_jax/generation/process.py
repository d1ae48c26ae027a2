"""The process that a model was loaded in, the only one that can compute with it."""

import os

from pocket_tts_jax.errors import GenerationError


class OwnProcess:
    """Remembers the process that it was made in."""

    def __init__(self) -> None:
        self._number = os.getpid()

    def check(self) -> None:
        """GenerationError in a fork, which has none of the threads that compute and would wait for
        them for ever."""
        if os.getpid() != self._number:
            raise GenerationError(
                "This process was forked after the model was loaded, without the threads that "
                "compute. Load the model in each process, or start processes with "
                "multiprocessing's method 'spawn'."
            )
