"""FlowLM's attention cache in host memory, in the layout of the exported graphs.

In its keys the two channels of a rotary pair are half a head apart. In voices, and everywhere else
in the package, they are adjacent.
"""

import math
import threading
from collections.abc import Sequence

import numpy as np

from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.litert_engine.c_api import ALIGNMENT, aligned_zeros
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.voice.state import VoiceState, voice_shape

Rows = Float[np.ndarray, "layers kv_heads t head_dim"]
# Keys and values in turn, layer by layer.
AllRows = Float[np.ndarray, "arrays b kv_heads t head_dim"]
Arrays = dict[str, np.ndarray]
_ALIGNED = ALIGNMENT // 4  # numbers


class HostCache:
    """Keys and values of every layer, by name: `arrays["k_0"]` is [1, kv_heads, slots, head_dim].

    Slots from `position` on are zero or stale; the graphs mask them. `block` and `row` say where
    the cache lies, so that its neighbours can be computed with it.
    """

    def __init__(self, config: Config, block: "CacheBlock", row: int) -> None:
        self._config = config
        self.arrays = {name: array[row : row + 1] for name, array in block.arrays.items()}
        self._all = block.all[:, row]  # [arrays, kv_heads, slots, head_dim]
        self.block, self.row = block, row
        self.capacity = block.capacity
        self.position = 0

    def continue_from(self, smaller: "HostCache") -> None:
        """Copy what another cache holds."""
        self.position = smaller.position
        self._all[:, :, : self.position] = smaller._all[:, :, : self.position]

    def clear(self) -> None:
        """Zeros everywhere: what is stale is masked, but must be finite."""
        self._all[...] = 0

    def append(self, rows: AllRows, count: int, row: int = 0) -> None:
        """Keep the first `count` of the new positions that a call returned for one of its rows."""
        end = self.position + count
        if end > self.capacity:
            raise GenerationError(f"{end} positions do not fit a cache of {self.capacity}")
        self._all[:, :, self.position : end] = rows[:, row, :, :count]
        self.position = end

    def append_voice(self, voice: VoiceState) -> None:
        """Append the keys and values of a voice."""
        if voice.shape != voice_shape(self._config):
            raise GenerationError(
                f"a voice of {voice.shape} (layers, heads, width) was given to a model of "
                f"{voice_shape(self._config)}; use a voice made for this model"
            )
        written = slice(self.position, self.position + voice.length)
        for i in range(len(voice.k)):
            self.arrays[f"k_{i}"][0, :, written] = to_halves(voice.k[i])
            self.arrays[f"v_{i}"][0, :, written] = voice.v[i]
        self.position = written.stop

    def rows(self) -> tuple[Rows, Rows]:
        """Copies of the keys and values written so far."""
        written = self._all[:, :, : self.position]
        return written[0::2].copy(), written[1::2].copy()


class CacheBlock:
    """Caches of one capacity side by side: `arrays["k_0"]` is [rows, kv_heads, slots, head_dim].

    A row that was never used takes no memory: the system makes zeroed pages when they are written.
    """

    def __init__(self, config: Config, capacity: int, rows: int) -> None:
        self.capacity = capacity
        layers, kv_heads, head_dim = voice_shape(config)
        self.all, self.arrays = side_by_side(layers, (rows, kv_heads, capacity, head_dim))
        self.caches = [HostCache(config, self, row) for row in range(rows)]


def side_by_side(layers: int, shape: tuple[int, int, int, int]) -> tuple[AllRows, Arrays]:
    """Zeros for the keys and values of every layer, [b, kv_heads, t, head_dim] each: in one array,
    so that one copy serves all of them, and each by its name."""
    size = math.prod(shape)
    stride = -(-size // _ALIGNED) * _ALIGNED  # each array begins where LiteRT takes it
    flat = aligned_zeros((2 * layers, stride), np.dtype(np.float32))
    whole = flat[:, :size].reshape(2 * layers, *shape)
    names = [f"{kind}_{i}" for i in range(layers) for kind in "kv"]
    return whole, dict(zip(names, whole, strict=True))


class CachePool:
    """Caches that were used and can be used again, in blocks of `rows`.

    To zero a cache takes as long as a step, so what an earlier chunk wrote stays in it. The lowest
    free row is taken, so that those in use lie together.
    """

    def __init__(self, config: Config, capacities: Sequence[int], rows: int) -> None:
        self._config, self._capacities, self._rows = config, capacities, rows
        self._caches: dict[int, list[HostCache]] = {capacity: [] for capacity in capacities}
        self._used: set[HostCache] = set()
        # Latents that are collected as garbage give their cache back, in any thread and at any
        # place: also inside `take`.
        self._lock = threading.RLock()

    def take(self, positions: int) -> HostCache:
        """A cache of the smallest capacity that holds `positions`, at position 0.

        Raises GenerationError if none does.
        """
        capacity = min((c for c in self._capacities if c >= positions), default=None)
        if capacity is None:
            raise GenerationError(
                f"voice, text and speech need {positions} positions, this export has "
                f"{max(self._capacities)}: have long sentences cut between words "
                "(--cut-at-words), use a shorter voice prompt, or export with a larger "
                "--max-frames"
            )
        with self._lock:
            caches = self._caches[capacity]
            cache = next((cache for cache in caches if cache not in self._used), None)
            if cache is None:
                block = CacheBlock(self._config, capacity, self._rows)
                caches.extend(block.caches)
                cache = block.caches[0]
            self._used.add(cache)
        cache.position = 0
        return cache

    def give(self, cache: HostCache) -> None:
        """Nobody uses this cache any more."""
        with self._lock:
            self._used.discard(cache)

    def grown(self, cache: HostCache, positions: int) -> HostCache:
        """This cache, or a larger copy that holds `positions`; then this one is free again."""
        if positions <= cache.capacity:
            return cache
        larger = self.take(positions)
        larger.continue_from(cache)
        self.give(cache)
        return larger


def to_halves(k: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
    """Move the channels of rotary pairs from adjacent to half a head apart."""
    return np.concatenate([k[..., 0::2], k[..., 1::2]], axis=-1)


def from_halves(k: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
    """The inverse of `to_halves`."""
    first, second = np.split(k, 2, axis=-1)
    return np.stack([first, second], axis=-1).reshape(k.shape)
