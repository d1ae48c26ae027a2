"""The objective of FlowLM, on whole utterances, through the package's own modules.

Terms, on every audio position (hidden state h, target latent z, e ~ N(0, 1)):

- `map`: the one-step map, ‖v(0, 1, σe) − (z − σe)‖², σ ~ U(0, 1)². Its minimum is the conditional
  mean, so one step from little noise is right as soon as it is learned. With a teacher that is
  nearly a function of the text, the mean is the answer; a published model's speech is far from
  that, and its fine-tuning does without (`training.finetune`).
- `energy`: the energy score of a few samples, for the heads that make latents in one step without
  a time. Unlike that of `map`, its minimum has the spread of the targets.
- `flow`: the diagonal of the flow map, flow matching (Lipman et al. 2022) with
  t = sigmoid(N(0.4, 1)): ‖v(t, t, x_t) − (z − e)‖².
- `distill`: Lagrangian self-distillation (Boffi et al. 2025, https://arxiv.org/abs/2505.18825):
  d/dt X(s, t) = v(t, t, X(s, t)) for X(s, t) = x_s + (t − s) v(s, t, x_s).
- `eos`: binary cross-entropy of "speech has ended".
- `align`: −log of the attention mass that lies on the word being spoken (first head of the guided
  layers) and on the tokens being spoken (the other guided heads). Nothing of it remains at run
  time; it makes attention lock within a few hundred steps.

The latent history is noised hard, from the first step on: a model that may trust its history
leans on it and falls apart when it runs on its own output.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.model.attention import KVCache
from pocket_tts_jax.model.flow_lm import FlowLM, FlowLMState, head_shape, init_state
from pocket_tts_jax.model.rope import rotate, rotation
from pocket_tts_jax.weights.checkpoint import parameter_tree
from training.batches.examples import Batch
from training.losses.head_terms import distill_term, energy_term, flow_term, map_term, one_step

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class LMObjective:
    """Weights and noise of the loss. `align_layers` and `align_heads` are the guided ones."""

    map: float = 1.0
    energy: float = 0.0
    flow: float = 0.25
    distill: float = 0.0
    eos: float = 0.1
    align: float = 0.1
    align_layers: tuple[int, ...] = (1, 2)
    align_heads: int = 2
    history_noise: tuple[float, float] = (0.1, 1.1)
    history_dropout: float = 0.15
    own_history: float = 0.0  # share of rows that read the model's own prediction as history


class Terms(NamedTuple):
    """Those of weight zero are None."""

    map: Array | None
    energy: Array | None
    flow: Array | None
    distill: Array | None
    eos: Array | None
    align: Array | None


def lm_loss(
    params: Parameters,
    batch: Batch,
    key: Array,
    config: Config,
    objective: LMObjective,
    voice: KVCache | None = None,
) -> tuple[Array, Terms]:
    """The weighted sum, and its terms. `params` are FlowLM's tensors by name, and among them
    `voices.NAME` for each named speaker of the batch, in the order of their names. A `voice` (keys
    and values, [layers, kv_heads, t, head_dim]) stands in place of the start token."""
    _check(config, objective)
    model, variables = FlowLM.of(config), {"params": parameter_tree(params)}  # pyright: ignore
    keys = jax.random.split(key, 6)
    target = jnp.asarray(batch.latents)
    history = _shift(params["bos_emb"], target)
    noisy = corrupt_history(history, keys[0], objective)
    hidden, queries = _hidden(model, variables, batch, noisy, objective, voice)
    if objective.own_history > 0:
        own = jax.lax.stop_gradient(one_step(model, variables, hidden, jnp.zeros_like(history)))
        own = _shift(params["bos_emb"], own)
        chosen = jax.random.uniform(keys[1], (len(own), 1, 1)) < objective.own_history
        noisy = jnp.where(chosen, own, noisy)
        hidden, queries = _hidden(model, variables, batch, noisy, objective, voice)
    weight = (jnp.arange(history.shape[1])[None] < batch.frames[:, None]).astype(jnp.float32)
    of_head = (model, variables, hidden, target, weight)
    made = {
        "map": lambda: map_term(*of_head, keys[2]),
        "energy": lambda: energy_term(*of_head, keys[5]),
        "flow": lambda: flow_term(*of_head, keys[3]),
        "distill": lambda: distill_term(*of_head, keys[4]),
        "eos": lambda: _eos_term(params, hidden, batch, weight),
        "align": lambda: _align_term(queries, batch, config, objective.align_heads),
    }
    terms = {n: term() if getattr(objective, n) > 0 else None for n, term in made.items()}
    total = sum(getattr(objective, n) * t for n, t in terms.items() if t is not None)
    return jnp.asarray(total), Terms(**terms)


def _check(config: Config, objective: LMObjective) -> None:
    """ConfigError for what this model's head cannot learn from."""
    kind, times = config.flow_lm.flow.type, config.flow_lm.flow.time_conditions
    if objective.flow > 0 and times == 0:
        raise ConfigError(f"A {kind} head takes no time, so it learns no flow: set flow to 0.")
    if objective.distill > 0 and times != 2:
        raise ConfigError(f"Only an lsd head can be distilled, not {kind}: set distill to 0.")


def predict_means(
    model: FlowLM,
    variables: Any,
    params: Parameters,
    batch: Batch,
    key: Array,
    objective: LMObjective,
    voice: KVCache | None = None,
) -> Float[Array, "b a z"]:
    """The one-step prediction of every frame from a corrupted true history."""
    history = _shift(params["bos_emb"], jnp.asarray(batch.latents))
    noisy = corrupt_history(history, key, objective)
    hidden, _ = _hidden(model, variables, batch, noisy, objective, voice)
    return one_step(model, variables, hidden, jnp.zeros_like(history))


def corrupt_history(
    history: Float[Array, "b a z"], key: Array, objective: LMObjective
) -> Float[Array, "b a z"]:
    """One σ a row, and some frames replaced by pure noise. The first, `bos_emb`, stays."""
    sigma_key, noise_key, drop_key, pure_key = jax.random.split(key, 4)
    b, a, _ = history.shape
    low, high = objective.history_noise
    sigma = jax.random.uniform(sigma_key, (b, 1, 1), minval=low, maxval=high)
    noisy = history + sigma * jax.random.normal(noise_key, history.shape)
    dropped = jax.random.uniform(drop_key, (b, a, 1)) < objective.history_dropout
    noisy = jnp.where(dropped, jax.random.normal(pure_key, history.shape), noisy)
    return noisy.at[:, 0].set(history[:, 0])


def _shift(bos: Float[Array, " z"], latents: Float[Array, "b a z"]) -> Float[Array, "b a z"]:
    first = jnp.broadcast_to(bos, (len(latents), 1, latents.shape[2]))
    return jnp.concatenate([first, latents[:, :-1]], axis=1)


def _audio_positions(batch: Batch) -> Array:
    """[b, a]: where in its row each audio frame stands."""
    a, t = batch.latents.shape[1], batch.tokens.shape[1]
    positions = 1 + batch.text_length[:, None] + jnp.arange(a)[None]
    return jnp.minimum(positions, t - 1)


def _hidden(
    model: FlowLM,
    variables: Any,
    batch: Batch,
    history: Array,
    objective: LMObjective,
    voice: KVCache | None = None,
) -> tuple[Float[Array, "b a h"], list[Array]]:
    """Hidden states of the audio positions, and `in_proj`'s output in the guided layers."""
    x = _embeddings(model, variables, batch, history, start=voice is None)
    names = {f"layers.{i}" for i in objective.align_layers if objective.align > 0}

    def guided(module: Any, _: str) -> bool:
        return module.name == "in_proj" and module.path[-3] in names

    state = _initial_state(model, len(x), voice)
    (hidden, _), captured = model.apply(
        variables, x, state, method="forward", capture_intermediates=guided
    )
    rows = _audio_positions(batch) - (0 if voice is None else 1)
    return jnp.take_along_axis(hidden, rows[..., None], axis=1), jax.tree.leaves(captured)


def _embeddings(
    model: FlowLM, variables: Any, batch: Batch, history: Array, start: bool
) -> Float[Array, "b t d"]:
    """[start token, text, audio] of each row; without the start token where a voice leads."""
    position = jnp.arange(batch.tokens.shape[1])[None]
    is_text = (position > 0) & (position <= batch.text_length[:, None])
    source = jnp.clip(position - 1 - batch.text_length[:, None], 0, history.shape[1] - 1)
    audio = jnp.take_along_axis(history, source[..., None], axis=1)
    audio = model.apply(variables, audio, method="embed_audio")
    text = model.apply(variables, batch.tokens, method="embed_text")
    x = jnp.where(is_text[..., None], text, audio)  # pyright: ignore
    if not start:
        return x[:, 1:]
    if not model.config.insert_bos_before_voice:
        raise ConfigError(
            "This model has no start token: give a voice (--voice) to lead every utterance, or set "
            "flow_lm.insert_bos_before_voice."
        )
    voices = variables["params"].get("voices", {})
    starts = [variables["params"]["bos_before_voice"][0, 0], *(voices[n] for n in sorted(voices))]
    return jnp.where(position[..., None] == 0, jnp.stack(starts)[batch.speaker][:, None], x)


def _initial_state(model: FlowLM, batch: int, voice: KVCache | None) -> FlowLMState:
    if voice is None:
        return init_state(model.config, batch, 0)
    layers = tuple(
        KVCache(*(jnp.broadcast_to(part[None], (batch, *part.shape)) for part in layer))
        for layer in zip(voice.k, voice.v, strict=True)
    )
    return FlowLMState(layers, jnp.full((batch,), voice.k.shape[2], jnp.int32))


def _eos_term(params: Parameters, hidden: Array, batch: Batch, weight: Array) -> Array:
    logits = hidden @ params["out_eos.weight"][0] + params["out_eos.bias"]
    ended = jnp.arange(hidden.shape[1])[None] >= batch.end[:, None]
    losses = optax.sigmoid_binary_cross_entropy(logits, ended.astype(jnp.float32))
    return (losses * weight).sum() / weight.sum()


def _align_term(projections: list[Array], batch: Batch, config: Config, count: int) -> Array:
    """Recomputes the attention of the first heads of the guided layers at the audio rows."""
    c, (heads, kv_heads, head_dim) = config.flow_lm.transformer, head_shape(config.flow_lm)
    guided = min(count, heads)
    b, t, _ = projections[0].shape
    where = jnp.arange(t, dtype=jnp.int32)[None]
    rope = rotation(jnp.broadcast_to(where, (b, t)), head_dim, c.max_period)
    rows = _audio_positions(batch)
    visible = where[:, None] <= rows[..., None]
    spans = [(batch.word_start, batch.word_end)]
    spans += [(batch.token_start, batch.token_end)] * (guided - 1)
    spoken = jnp.stack(
        [(where[:, None] >= s[..., None]) & (where[:, None] < e[..., None]) for s, e in spans], 1
    )
    known = (batch.word_end > 0).astype(jnp.float32)
    total = jnp.zeros(())
    for projection in projections:
        by_head = projection.reshape(b, t, -1, head_dim).transpose(0, 2, 1, 3)
        q = rotate(by_head[:, :guided], rope, "interleaved")
        q = jnp.take_along_axis(q, rows[:, None, :, None], axis=2)
        groups = jnp.arange(guided) // (heads // kv_heads)
        k = rotate(by_head[:, heads : heads + kv_heads], rope, "interleaved")[:, groups]
        scores = (q * head_dim**-0.5) @ k.swapaxes(2, 3)
        attention = jax.nn.softmax(jnp.where(visible[:, None], scores, -1e9), axis=-1)
        mass = (attention * spoken).sum(-1)
        total -= (jnp.log(mass + 1e-4).mean(1) * known).sum() / (known.sum() + 1)
    return total / len(projections)
