"""Computes the model's own numbers, with which exported functions and files are compared.

They are computed once for all signatures. A few rows speak some frames after a voice and a text,
because from an empty cache a trained model is unstable and small differences grow. Every size of
the caches is used up to its last slot.
"""

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from exporters.graph.fold import Tensors, flow_steps
from exporters.graph.signature import COMPILE_FAST
from pocket_tts_jax.config import Config
from pocket_tts_jax.litert_engine.caches import from_halves, to_halves
from pocket_tts_jax.model import flow_lm
from pocket_tts_jax.model.attention import KVCache
from pocket_tts_jax.model.flow_lm import FlowLM, FlowLMState
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.voice.state import VoiceState, read_voice
from pocket_tts_jax.weights.checkpoint import parameter_tree, release_all
from pocket_tts_jax.weights.expected import under
from pocket_tts_jax.weights.source import ModelSource

TEXT = "The train was late again, so we walked home."
ROWS, STEPS = 3, 50
# Steps in the last slot. Behind so odd a history, how well a quantised head does differs by 20 dB
# from one draw of noise to the next.
DRAWS = 9
TRIAL_TEMPERATURE = 0.3
Caches = dict[str, np.ndarray]  # k_0, v_0, k_1, … of [rows, kv_heads, slots, head_dim]

compiled = functools.partial(jax.jit, compiler_options=COMPILE_FAST)


def noise_temperature(config: Config) -> float:
    """The model's temperature; another one if it is 0, because zeros would not test the noise."""
    return config.default_temperature or TRIAL_TEMPERATURE


@dataclass(frozen=True)
class Spoken:
    """Inputs and outputs of steps, each [steps, rows, …]; `position` is before the first step. The
    caches include the new rows."""

    position: np.ndarray
    latents: np.ndarray
    noise: np.ndarray
    next_latents: dict[int, np.ndarray]  # by the number of evaluations of the flow head
    eos_logits: np.ndarray
    attention: np.ndarray
    caches: Caches

    @property
    def steps(self) -> int:
        return len(self.latents)


@dataclass(frozen=True)
class Read:
    """A prefill: embeddings [n, d] after `position` slots of the caches, which include the new
    rows."""

    position: int
    embeddings: np.ndarray
    caches: Caches


@dataclass(frozen=True)
class Reference:
    """`text` is read behind a voice, of whose rows `speech` reads fewer by one each. `prefixes` are
    random embeddings: from the first slot, and up to the last of each capacity. `ends` are steps in
    the last slot of each capacity: `DRAWS` of them with the same caches, of whose outputs there are
    the latents of all and else those of the first."""

    text: Read
    speech: Spoken
    prefixes: list[Read]
    ends: dict[int, Spoken]


class Model:
    """FlowLM with its weights on the device."""

    def __init__(self, tensors: Tensors, source: ModelSource) -> None:
        self.config = source.config
        self.lm = FlowLM.of(source.config, alignment_heads=source.alignment.heads)
        tree = parameter_tree(under(tensors, "flow_lm."))
        self.params: Any = jax.block_until_ready(jax.tree.map(jnp.asarray, {"params": tree}))
        release_all(tensors)
        self.steps = flow_steps(source.config)
        self.step = compiled(self._step)
        self.read = compiled(functools.partial(self.lm.apply, method="prefill"))

    def drop_layers(self) -> None:
        """Free the weights that embeddings do not need: most of them."""
        layers = {"transformer", "flow_net"}
        kept = {name: tree for name, tree in self.params["params"].items() if name not in layers}
        self.params = {"params": kept}

    def embed_text(self, tokens: np.ndarray) -> np.ndarray:
        return np.asarray(self.lm.apply(self.params, tokens, method="embed_text"))

    def embed_voice(self, latents: np.ndarray) -> np.ndarray:
        return np.asarray(self.lm.apply(self.params, latents, method="embed_voice"))

    def _step(self, params: Any, state: FlowLMState, latent: Any, noise: Any) -> tuple:
        def run(lm: FlowLM) -> tuple:
            embedded = lm.embed_audio(latent[:, None])
            hidden, rows, attention = lm.forward_with_attention(embedded, state)
            found = lm.heads(hidden[:, 0], noise, self.steps[0])
            after = flow_lm.append(state, rows, jnp.ones_like(state.position))
            return after, hidden[:, 0], *found, attention[:, :, 0]

        return self.lm.apply(params, method=run)  # pyright: ignore

    def latents(self, hidden: np.ndarray, noise: np.ndarray, steps: int) -> np.ndarray:
        """What the flow head makes of hidden states in `steps` steps."""
        flat = hidden.reshape(-1, hidden.shape[-1]), noise.reshape(-1, noise.shape[-1])
        found, _ = self.lm.apply(self.params, *flat, steps, method="heads")  # pyright: ignore
        return np.asarray(found).reshape(noise.shape)


def make_reference(
    model: Model, source: ModelSource, voices: Path, capacities: Sequence[int]
) -> Reference:
    """Let the model speak, after the first voice in the folder `voices` that is short enough."""
    slots = capacities[0]
    voice = _first_voice(voices, source.config, slots // 2)
    before = 0 if voice is None else voice.length
    ids = _text_ids(source)[: slots // 4]
    prefix = _random_embeddings(model, slots // 2)
    embeddings = np.zeros((ROWS + 1, len(prefix), prefix.shape[1]), np.float32)
    embeddings[:ROWS, : len(ids)] = model.embed_text(np.array([ids]))
    embeddings[ROWS] = prefix
    state = _after_voice(model, voice, slots)
    lengths = np.array([*(len(ids) - r for r in range(ROWS)), len(prefix)], np.int32)
    state = model.read(model.params, state, embeddings, lengths)
    read = Read(0, prefix, _exported(_rows(state, slice(ROWS, None))))
    speech, hidden = _speak(model, _rows(state, slice(ROWS)), min(STEPS, slots - before - len(ids)))
    caches = {name: array[:1] for name, array in speech.caches.items()}
    text = Read(before, _centred(embeddings[0, : len(ids)]), caches)
    full = _filled(speech, capacities[-1])
    with ThreadPoolExecutor() as pool:  # each compiles its functions, on one processor
        reads = pool.map(lambda c: _read_to_end(model, full, prefix, c), capacities)
        steps_at_end = pool.map(lambda c: _steps_at_end(model, full, speech, c), capacities)
        prefixes = [read, *reads]
        ends = dict(zip(capacities, steps_at_end, strict=True))
    for steps in model.steps[1:]:
        speech.next_latents[steps] = model.latents(hidden, speech.noise, steps)
        # Other numbers of steps than the first exist for the largest caches only.
        last, hidden_at_end = ends[capacities[-1]]
        last.next_latents[steps] = model.latents(hidden_at_end, last.noise, steps)
    return Reference(text, speech, prefixes, {c: end for c, (end, _) in ends.items()})


def _text_ids(source: ModelSource) -> list[int]:
    size = source.config.flow_lm.lookup_table.n_bins
    return load_tokenizer(source.tokenizer_kind, source.tokenizer, size).encode(TEXT)


def _first_voice(voices: Path, config: Config, room: int) -> VoiceState | None:
    for path in sorted(voices.glob("*.safetensors")):
        voice = read_voice(path, config)
        if isinstance(voice, VoiceState) and voice.length <= room:
            return voice
    return None


def _after_voice(model: Model, voice: VoiceState | None, slots: int) -> FlowLMState:
    """The voice in all rows but the last."""
    empty = flow_lm.init_state(model.config.flow_lm, ROWS + 1, slots)
    if voice is None:
        return empty
    layers = []
    for cache, *sides in zip(empty.layers, voice.k, voice.v, strict=True):
        arrays = [np.array(side) for side in cache]
        for array, rows in zip(arrays, sides, strict=True):
            array[:ROWS, :, : voice.length] = rows
        layers.append(KVCache(*map(jnp.asarray, arrays)))
    position = np.array([voice.length] * ROWS + [0], np.int32)
    return FlowLMState(tuple(layers), jnp.asarray(position))


def _speak(model: Model, state: FlowLMState, steps: int) -> tuple[Spoken, np.ndarray]:
    rng = np.random.default_rng(0)
    position, width = np.asarray(state.position), model.config.latent_dim
    scale = noise_temperature(model.config) ** 0.5
    noise = scale * rng.standard_normal((steps, ROWS, width), np.float32)
    latent = np.repeat(np.asarray(model.params["params"]["bos_emb"])[None], ROWS, axis=0)
    given, outputs = [], []
    for draw in noise:
        given.append(np.asarray(latent))
        state, hidden, latent, eos_logit, attention = model.step(model.params, state, latent, draw)
        outputs.append((hidden, latent, eos_logit, attention))
    hidden, latents, eos_logits, attention = (
        np.stack([np.asarray(array) for array in arrays]) for arrays in zip(*outputs, strict=True)
    )
    caches = _exported(state)
    latents = {model.steps[0]: latents}
    return Spoken(position, np.stack(given), noise, latents, eos_logits, attention, caches), hidden


def _steps_at_end(
    model: Model, full: FlowLMState, speech: Spoken, capacity: int
) -> tuple[Spoken, np.ndarray]:
    position = np.array([capacity - 1], np.int32)
    given = speech.latents[::-1, :1][:DRAWS], speech.noise[::-1, :1][:DRAWS]
    state = full._replace(position=jnp.asarray(position))
    found = [model.step(model.params, state, *draw) for draw in zip(*given, strict=True)]
    hidden, latents = (np.stack([np.asarray(draw[i]) for draw in found]) for i in (1, 2))
    state, _, _, *outputs = found[0]
    eos_logits, attention = (np.asarray(output)[None] for output in outputs)
    caches = _exported(state, capacity)
    latents = {model.steps[0]: latents}
    return Spoken(position, *given, latents, eos_logits, attention, caches), hidden


def _read_to_end(model: Model, full: FlowLMState, prefix: np.ndarray, capacity: int) -> Read:
    count = len(prefix) // 2
    state = full._replace(position=jnp.full(1, capacity - count, jnp.int32))
    state = model.read(model.params, state, prefix[None, :count], np.array([count], np.int32))
    return Read(capacity - count, prefix[:count], _exported(state, capacity))


def _filled(speech: Spoken, slots: int) -> FlowLMState:
    """One row whose slots repeat the spoken rows."""
    end = int(speech.position[0]) + speech.steps
    which = np.arange(slots) % end
    arrays = {name: array[:1, :, which] for name, array in speech.caches.items()}
    layers = len(arrays) // 2
    pairs = (
        KVCache(jnp.asarray(from_halves(arrays[f"k_{i}"])), jnp.asarray(arrays[f"v_{i}"]))
        for i in range(layers)
    )
    return FlowLMState(tuple(pairs), jnp.zeros(1, jnp.int32))


def _rows(state: FlowLMState, rows: slice) -> FlowLMState:
    return jax.tree.map(lambda array: array[rows], state)


def _exported(state: FlowLMState, slots: int | None = None) -> Caches:
    """The first slots of the caches of a state, in the layout of the graphs."""
    caches = {}
    for i, layer in enumerate(state.layers):
        caches[f"k_{i}"] = to_halves(np.asarray(layer.k)[:, :, :slots])
        caches[f"v_{i}"] = np.asarray(layer.v)[:, :, :slots]
    return caches


def _random_embeddings(model: Model, count: int) -> np.ndarray:
    width = model.config.flow_lm.transformer.d_model
    return _centred(np.random.default_rng(1).standard_normal((count, width), np.float32))


def _centred(embeddings: np.ndarray) -> np.ndarray:
    """Remove the mean over the channels, which no later layer reads."""
    return embeddings - embeddings.mean(axis=-1, keepdims=True)
