"""One-step prediction from the true history: tells exposure bias from a model that knows too
little. Good here and bad when running freely means the history is trusted too much."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pocket_tts_jax.config import Config
from pocket_tts_jax.model.flow_lm import FlowLM
from pocket_tts_jax.weights.checkpoint import parameter_tree
from pocket_tts_jax.weights.expected import under
from training.batches.examples import Bucket, Example, collate
from training.data.streams import FrameStream, Utterance
from training.losses.flow_lm import LMObjective, predict_means


def forced_latents(
    config: Config,
    tensors: Mapping[str, np.ndarray],
    rows: Sequence[tuple[FrameStream, Utterance]],
    tokens: Sequence[Sequence[int]],
    statistics: tuple[np.ndarray, np.ndarray],
    history_noise: float,
    seed: int = 0,
) -> list[Float[np.ndarray, "t z"]]:
    """Predicted latents (as Mimi decodes them) of each utterance, its history true but noised.

    `statistics` are the codec's: an export may have a wider `emb_std`
    (`training.spread`), which is for what is spoken, not for what was heard.
    """
    mean, std = statistics
    examples = []
    for (stream, u), ids in zip(rows, tokens, strict=True):
        latents = (stream.latents[u.first : u.first + u.frames] - mean) / std
        examples.append(Example(u.text, np.asarray(ids, np.int32), latents, u.speech, None))
    positions = max(1 + len(e.tokens) + len(e.latents) for e in examples)
    frames = max(len(e.latents) for e in examples)
    batch = collate(examples, Bucket(positions, frames, len(examples)))
    sigma = (history_noise, history_noise)
    objective = LMObjective(align=0.0, history_noise=sigma, history_dropout=0.0)
    params = {k: jnp.asarray(v) for k, v in under(tensors, "flow_lm.").items()}
    model, variables = FlowLM.of(config), {"params": parameter_tree(params)}  # pyright: ignore
    means = predict_means(model, variables, params, batch, jax.random.key(seed), objective)
    predicted = np.asarray(means) * tensors["flow_lm.emb_std"] + tensors["flow_lm.emb_mean"]
    return [predicted[i, : len(e.latents)] for i, e in enumerate(examples)]
