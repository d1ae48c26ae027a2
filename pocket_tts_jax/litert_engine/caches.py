"""FlowLM's attention cache in host memory, in the layout of the exported graphs.

Keys lie there with the two channels of a rotary pair half a head apart; voices, as everywhere
else in the package, have them side by side.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.litert_engine.c_api import aligned_zeros
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.voice.state import VoiceState, voice_shape

Rows = Float[np.ndarray, "layers kv_heads t head_dim"]


class HostCache:
    """Keys and values of every layer, by name: `arrays["k_0"]` is [1, kv_heads, slots, head_dim].

    Slots from `position` on are zero or stale; the graphs mask them.
    """

    def __init__(self, config: Config, capacity: int) -> None:
        self._config = config
        self.capacity = capacity
        self.position = 0
        self._layers, kv_heads, head_dim = voice_shape(config)
        shape = (1, kv_heads, capacity, head_dim)
        self.arrays = {
            f"{kind}_{i}": aligned_zeros(shape, np.dtype(np.float32))
            for i in range(self._layers)
            for kind in "kv"
        }

    def grown(self, positions: int, capacities: Sequence[int]) -> "HostCache":
        """This cache, or a copy in the smallest capacity that holds `positions`.

        Raises GenerationError where none does.
        """
        if positions <= self.capacity:
            return self
        capacity = min((c for c in capacities if c >= positions), default=None)
        if capacity is None:
            raise GenerationError(
                f"voice, text and speech need {positions} positions, this export has "
                f"{max(capacities)}: have long sentences cut between words (--cut-at-words), use a "
                "shorter voice prompt, or export with a larger --max-frames"
            )
        larger = HostCache(self._config, capacity)
        larger.position = self.position
        for name, array in self.arrays.items():
            larger.arrays[name][:, :, : self.position] = array[:, :, : self.position]
        return larger

    def append(self, outputs: Mapping[str, np.ndarray], count: int) -> None:
        """Keep the first `count` of the rows that a call returned."""
        end = self.position + count
        if end > self.capacity:
            raise GenerationError(f"{end} positions do not fit a cache of {self.capacity}")
        for name, array in self.arrays.items():
            array[:, :, self.position : end] = outputs[f"{name}_rows"][:, :, :count]
        self.position = end

    def append_voice(self, voice: VoiceState) -> None:
        """Begin with a voice."""
        if voice.shape != voice_shape(self._config):
            raise GenerationError(
                f"a voice of {voice.shape} (layers, heads, width) was given to a model of "
                f"{voice_shape(self._config)}; use a voice made for this model"
            )
        written = slice(self.position, self.position + voice.length)
        for i in range(self._layers):
            self.arrays[f"k_{i}"][0, :, written] = to_halves(voice.k[i])
            self.arrays[f"v_{i}"][0, :, written] = voice.v[i]
        self.position = written.stop

    def rows(self) -> tuple[Rows, Rows]:
        """Copies of the keys and values written so far."""
        k, v = (
            np.stack(
                [self.arrays[f"{kind}_{i}"][0, :, : self.position] for i in range(self._layers)]
            )
            for kind in "kv"
        )
        return k, v


class CachePool:
    """Caches that were used and can be used again: to zero one takes as long as a step.

    What is stale in one is masked, but it must be finite.
    """

    def __init__(self, config: Config, capacity: int) -> None:
        self._config, self._capacity = config, capacity
        self._free: deque[HostCache] = deque(maxlen=1)  # what is used one after another

    def take(self) -> HostCache:
        """A cache of the pool's capacity, at position 0."""
        try:
            cache = self._free.pop()
        except IndexError:
            return HostCache(self._config, self._capacity)
        cache.position = 0
        return cache

    def give(self, cache: HostCache) -> None:
        """Nobody uses this cache any more; one of another capacity is not kept."""
        if cache.capacity == self._capacity:
            self._free.append(cache)


def to_halves(k: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
    """Keys with rotary pairs side by side → half a head apart."""
    return np.concatenate([k[..., 0::2], k[..., 1::2]], axis=-1)


def from_halves(k: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
    """The inverse of `to_halves`."""
    first, second = np.split(k, 2, axis=-1)
    return np.stack([first, second], axis=-1).reshape(k.shape)
