"""Speech for many texts at once, straight from tensors: what evaluation and training need.

One batch advances in step, so that the cost of a step is shared; the step and its ending are the
package's own (`FlowLM.step`, `EndOfSpeech`, `Mimi.decode_step`). For one text in real time use
`pocket_tts_jax` itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pocket_tts_jax.config import Config
from pocket_tts_jax.generation.ending import EndOfSpeech, fade_in
from pocket_tts_jax.model.flow_lm import FlowLM, init_state
from pocket_tts_jax.model.mimi import Mimi, init_decoder_state
from pocket_tts_jax.weights.checkpoint import parameter_tree
from pocket_tts_jax.weights.expected import under


class Spoken(NamedTuple):
    latents: Float[np.ndarray, "t z"]  # as Mimi decodes them
    ended: bool  # whether EOS fired
    frames: int  # until EOS, before `frames_after_end`


def speak_latents(
    config: Config,
    tensors: Mapping[str, np.ndarray],
    tokens: Sequence[Sequence[int]],
    temperature: float = 0.0,
    eos_threshold: float | None = None,
    frames_after_end: int = 2,
    max_frames: int = 200,
    seed: int = 0,
) -> list[Spoken]:
    """Latents for each token list, each a text of one chunk; no voice beyond the start token."""
    threshold = config.default_eos_threshold if eos_threshold is None else eos_threshold
    model = FlowLM.of(config)
    variables = {"params": parameter_tree(under(tensors, "flow_lm."))}
    batch, longest = len(tokens), max(map(len, tokens))
    padded = np.zeros((batch, longest), np.int32)
    for row, ids in zip(padded, tokens, strict=True):
        row[: len(ids)] = ids
    lengths = np.array([len(ids) for ids in tokens], np.int32)

    @jax.jit
    def prefill(variables: dict) -> tuple:
        state = init_state(config.flow_lm, batch, 1 + longest + max_frames)
        nothing = jnp.zeros((batch, 0, config.mimi.encoded_dim))
        voice = model.apply(variables, nothing, method="embed_voice")
        text = model.apply(variables, padded, method="embed_text")
        prefix = jnp.concatenate([voice, text], axis=1)  # pyright: ignore
        count = jnp.asarray(lengths) + prefix.shape[1] - longest
        return model.apply(variables, state, prefix, count, method="prefill")  # pyright: ignore

    step = jax.jit(lambda v, s, x, n: model.apply(v, s, x, n, method="step"))
    state, draw = prefill(variables), np.random.default_rng(seed)
    bos = np.asarray(tensors["flow_lm.bos_emb"])
    latent = jnp.broadcast_to(bos, (batch, len(bos)))
    history, rules = [], [EndOfSpeech(threshold, frames_after_end) for _ in tokens]
    for i in range(max_frames):
        noise = draw.standard_normal((batch, len(bos)), np.float32) * temperature**0.5
        output, state = step(variables, state, latent, noise)
        logits = np.asarray(output.eos_logit).tolist()
        reached = [rule.reached(i, logit) for rule, logit in zip(rules, logits, strict=True)]
        if all(reached):
            break
        latent = output.latent
        history.append(np.asarray(latent))
    latents = np.stack(history, 1) * tensors["flow_lm.emb_std"] + tensors["flow_lm.emb_mean"]
    spoken = []
    for row, rule in zip(latents, rules, strict=True):
        end = len(row) if rule.eos_frame is None else rule.eos_frame
        last = min(len(row), end + frames_after_end)
        spoken.append(Spoken(row[:last], rule.eos_frame is not None, end))
    return spoken


def waveform_decoder(
    config: Config, tensors: Mapping[str, np.ndarray]
) -> Callable[[Float[np.ndarray, "t z"]], Float[np.ndarray, " samples"]]:
    """latents -> samples; lengths are padded to multiples of 32 frames to compile rarely."""
    mimi = Mimi(config.mimi)
    variables = {"params": parameter_tree(under(tensors, "mimi."))}
    state = init_decoder_state(config.mimi, 1)
    decode = jax.jit(lambda v, z: mimi.apply(v, state, z, method="decode_step"))

    def decoder(latents: Float[np.ndarray, "t z"]) -> Float[np.ndarray, " samples"]:
        count = len(latents)
        padded = np.pad(latents, ((0, -count % 32), (0, 0)), mode="edge")
        audio, _ = decode(variables, padded[None])  # pyright: ignore
        spoken = np.asarray(audio)[0, : count * config.mimi.frame_size]
        return fade_in(spoken, config.mimi.sample_rate)

    return decoder
