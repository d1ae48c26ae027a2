"""A cache of encoded voice prompts on disk, by content.

Encoding a recording costs seconds; its state is kept in the user's cache folder under a name made
of the samples, the model's weights and the options. Any number of processes may share the folder:
files appear whole, and a file that is damaged or gone is simply encoded again. Voices are personal:
only their owner can read them.
"""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocket_tts_jax.errors import VoiceError
from pocket_tts_jax.files.atomic import private_folder, remove_abandoned, remove_if_possible
from pocket_tts_jax.files.cache import cache_folder
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.voice.state import VoiceState, read_voice, write_voice

_log = logging.getLogger(__name__)


def prompt_key(
    audio: Float[np.ndarray, " n"], rate: int, model_fingerprint: str, **options: object
) -> str:
    """The key of `audio` [n] at `rate` Hz for these weights and options."""
    digest = hashlib.sha256(np.ascontiguousarray(audio, np.float32).tobytes())
    digest.update(f"{rate} {model_fingerprint} {sorted(options.items())}".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class PromptCache:
    """A folder of voice states of at most `max_bytes`; the least recently used are removed first.

    With `enabled=False` nothing is read or written.
    """

    folder: str | Path = ""
    max_bytes: int = 512 << 20
    enabled: bool = True

    @property
    def _folder(self) -> Path:
        return Path(self.folder)

    def get(self, key: str) -> VoiceState | None:
        """The state under `key`, or None. A damaged file is logged and removed."""
        path = self._path(key)
        if not self.enabled or not path.is_file():
            return None
        try:
            voice = read_voice(path)
        except VoiceError as error:
            # Another process may have evicted the file meanwhile: that is a miss too.
            if path.exists():
                _log.warning("A cached voice is damaged and is encoded again: %s", error)
                remove_if_possible(path)
            return None
        if not isinstance(voice, VoiceState):
            return None
        try:
            os.utime(path)  # marks the last use, for eviction
        except OSError:
            pass  # read-only, or evicted just now: the state is already in memory
        return voice

    def put(self, key: str, voice: VoiceState) -> None:
        """Keep `voice` under `key`. A cache that cannot be written is logged and ignored."""
        if not self.enabled:
            return
        try:
            private_folder(self._folder)
            write_voice(self._path(key), voice, private=True)
        except (OSError, VoiceError) as error:
            _log.warning("The encoded voice is not cached: %s", error)
            return
        self._evict()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(last use, size, path) of every cached voice, the oldest first."""
        entries = []
        for path in self._folder.glob("*.safetensors"):
            try:
                status = path.stat()
            except OSError:
                continue  # evicted by another process
            entries.append((status.st_mtime, status.st_size, path))
        return sorted(entries)

    def _evict(self) -> None:
        entries = self._entries()
        excess = sum(size for _, size, _ in entries) - self.max_bytes
        for _, size, path in entries:
            if excess <= 0:
                break
            remove_if_possible(path)
            excess -= size
        remove_abandoned(self._folder)


def default_cache() -> PromptCache:
    """The cache in the user's folder; a disabled one if the user has no home folder."""
    folder = cache_folder("voices")
    return PromptCache(enabled=False) if folder is None else PromptCache(folder)
