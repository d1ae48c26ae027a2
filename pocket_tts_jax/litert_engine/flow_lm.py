"""FlowLM of an export: text, voices, prefills, and the steps of one chunk."""

import re
import weakref
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from pocket_tts_jax.errors import GenerationError
from pocket_tts_jax.generation.engine import Step
from pocket_tts_jax.litert_engine.batcher import Batcher, StepRequest
from pocket_tts_jax.litert_engine.cache_call import CacheCall
from pocket_tts_jax.litert_engine.caches import CachePool, HostCache, from_halves
from pocket_tts_jax.litert_engine.folder import ExportFolder
from pocket_tts_jax.litert_engine.grouped_model import GroupedModel
from pocket_tts_jax.litert_engine.turns import Turns
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.voice.state import VoiceState

_PREFILL = re.compile(r"prefill_(\d+)_c(\d+)")
_DECODE = re.compile(r"decode_(\d+)_c(\d+)")
_BATCHED = re.compile(r"decode_(\d+)_c(\d+)_b(\d+)")
_SIZED = re.compile(r"_c(\d+)(_b\d+)?$")
# {capacity of the caches: {number in the name: name of the signature}}
Sizes = dict[int, dict[int, str]]


def group_of(capacities: Sequence[int]) -> Callable[[str], Hashable]:
    """What is opened together, by the names of signatures: each size of the caches, batched steps
    apart; embeddings with the smallest, in which speech begins."""

    def group(name: str) -> Hashable:
        match = _SIZED.search(name)
        return (min(capacities), False) if match is None else (int(match[1]), bool(match[2]))

    return group


class LiteRTFlowLM:
    """The signatures of `flow_lm.tflite`, and the constants that go with them."""

    def __init__(self, model: GroupedModel, folder: ExportFolder, turns: Turns) -> None:
        self.model, self.config = model, folder.config
        self.capacities = folder.capacities
        self.caches = CachePool(self.config, self.capacities, max(folder.batches, default=1))
        self.batcher = Batcher(model, turns)
        self.bos = np.asarray(folder.constant("bos"), np.float32)
        self._voice_start = folder.constant("voice_start")
        self._prefills = _by_capacity(model, _PREFILL)
        self._decodes = _by_capacity(model, _DECODE)
        # Caches live as long as the engine.
        self._steps: dict[tuple[HostCache, str], CacheCall] = {}
        self._batched: dict[tuple[int, int], dict[int, str]] = {}
        for name in model.names:
            if match := _BATCHED.fullmatch(name):
                steps, capacity, rows = map(int, match.groups())
                self._batched.setdefault((capacity, steps), {})[rows] = name

    @property
    def flow_steps(self) -> tuple[int, ...]:
        """The numbers of evaluations of the flow head per frame that the export has."""
        return tuple(sorted({step for steps in self._decodes.values() for step in steps}))

    def embed_text(self, tokens: Sequence[int]) -> Float[np.ndarray, "t d"]:
        """Embeddings of token ids."""
        highest = self.config.flow_lm.lookup_table.n_bins
        if any(not 0 <= token <= highest for token in tokens):
            raise GenerationError(f"token ids must be from 0 to {highest}, got {list(tokens)}")
        call = self.model.bind("embed_text")
        length = call.inputs["tokens"].shape[1]
        pieces = []
        for begin in range(0, len(tokens), length):
            piece = tokens[begin : begin + length]
            call.inputs["tokens"][0, : len(piece)] = piece
            call()
            pieces.append(call.outputs["embeddings"][0, : len(piece)].copy())
        self.model.release_pages()  # reading a row of the table maps up to 2 MB around it
        return np.concatenate(pieces)

    def embed_voice(self, encoded: Float[np.ndarray, "frames encoded"]) -> Float[np.ndarray, "t d"]:
        """Embeddings of a recording's latents, after the start embedding if the model has one."""
        call = self.model.bind("embed_voice")
        pieces = [] if self._voice_start is None else [self._voice_start[None]]
        length = call.inputs["latents"].shape[1]
        for begin in range(0, len(encoded), length):
            piece = encoded[begin : begin + length]
            call.inputs["latents"][0, : len(piece)] = piece
            call()
            pieces.append(call.outputs["embeddings"][0, : len(piece)].copy())
        return np.concatenate(pieces)

    def voice(self, embeddings: Float[np.ndarray, "t d"], latents: np.ndarray | None) -> VoiceState:
        """The voice state of embeddings."""
        cache = self.prefill(self.caches.take(len(embeddings)), embeddings)
        k, v = cache.rows()
        self.caches.give(cache)
        return VoiceState(from_halves(k), v, latents=latents)

    def prefill(self, cache: HostCache, embeddings: Float[np.ndarray, "t d"]) -> HostCache:
        """Append embeddings to a cache in as few calls as possible. Returns the cache, or a larger
        one if they need it."""
        cache = self.caches.grown(cache, cache.position + len(embeddings))
        while not self._prefills.get(cache.capacity):
            cache = self.caches.grown(cache, cache.capacity + 1)
        names, begin = self._prefills[cache.capacity], 0
        while begin < len(embeddings):
            left = len(embeddings) - begin
            size = min((n for n in names if n >= left), default=max(names))
            piece = embeddings[begin : begin + size]
            self._prefill(names[size], size, cache, piece)
            begin += len(piece)
        return cache

    def _prefill(self, name: str, size: int, cache: HostCache, piece: np.ndarray) -> None:
        call = CacheCall(self.model, name, cache.arrays, size)
        call.inputs["embeddings"][0, : len(piece)] = piece
        call.inputs["position"][0] = cache.position
        call()
        cache.append(call.rows, len(piece))

    def bind_step(self, cache: HostCache, flow_steps: int) -> tuple[HostCache, CacheCall]:
        """Bind the step to a cache, or to the next larger one with such a step."""
        while flow_steps not in self._decodes.get(cache.capacity, {}):
            cache = self.caches.grown(cache, cache.capacity + 1)
        name = self._decodes[cache.capacity][flow_steps]
        if (cache, name) not in self._steps:
            self._steps[cache, name] = CacheCall(self.model, name, cache.arrays, 1)
        return cache, self._steps[cache, name]

    def batched_steps(self, capacity: int, flow_steps: int) -> dict[int, str]:
        """{rows: name} of the signatures that step several caches of this capacity at once."""
        return self._batched.get((capacity, flow_steps), {})


class LiteRTLatents:
    """The latents of one chunk (`generation.engine.Latents`); `voice` None speaks without one."""

    def __init__(
        self,
        flow_lm: LiteRTFlowLM,
        voice: VoiceState | None,
        tokens: Sequence[int],
        flow_steps: int,
    ) -> None:
        self._flow_lm, self._flow_steps = flow_lm, flow_steps
        before = 0 if voice is None else voice.length
        cache = flow_lm.caches.take(before + len(tokens) + 1)
        try:
            if voice is not None:
                cache.append_voice(voice)
            cache = flow_lm.prefill(cache, flow_lm.embed_text(tokens))
            self._bind(cache)
        except BaseException:
            flow_lm.caches.give(cache)
            raise
        self._latent = flow_lm.bos
        self._text = slice(before, before + len(tokens))

    def step(self, noise: Float[np.ndarray, " z"]) -> Step:
        caches = self._flow_lm.caches
        if self._cache.position == self._cache.capacity:
            self._done.detach()
            self._flow_lm.batcher.leave(self._cache)
            self._bind(caches.grown(self._cache, self._cache.position + 1))
        cache = self._cache
        batched = self._flow_lm.batched_steps(cache.capacity, self._flow_steps)
        request = StepRequest(cache, self._latent, noise, self._text, self._call, batched)
        step = self._flow_lm.batcher.step(request)
        if not np.isfinite(step.eos_logit):
            cache.clear()
        self._latent = step.latent
        return step

    def _bind(self, cache: HostCache) -> None:
        """Go on in this cache, or in a larger one that has such a step."""
        self._cache, self._call = self._flow_lm.bind_step(cache, self._flow_steps)
        self._done = weakref.finalize(self, _give_back, self._flow_lm, self._cache)


def _give_back(flow_lm: LiteRTFlowLM, cache: HostCache) -> None:
    flow_lm.batcher.leave(cache)
    flow_lm.caches.give(cache)


def _by_capacity(model: GroupedModel, pattern: re.Pattern[str]) -> Sizes:
    """{capacity: {number in the name: name}} of the signatures that match."""
    found: Sizes = {}
    for name in model.names:
        if match := pattern.fullmatch(name):
            found.setdefault(int(match[2]), {})[int(match[1])] = name
    return found
