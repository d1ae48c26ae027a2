"""Factors that give a model's latents the spread of real ones.

A model that predicts means speaks too evenly: its latents spread less than real ones and sound
muffled. Scaling them about their mean restores the spread ("global variance", Toda and Tokuda 2007,
https://doi.org/10.1093/ietisy/e90-d.5.816). The factors become part of `emb_std`, which is used
between FlowLM and Mimi only, so they cost nothing in any engine.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from sentencepiece import SentencePieceProcessor

from pocket_tts_jax.config import Config
from training.batches.examples import spoken_tokens
from training.data.streams import open_streams
from training.judging.speak import speak_latents

BATCH = 16


def lacking_spread(
    config: Config,
    tensors: Mapping[str, np.ndarray],
    frames: Path,
    tokenizer: SentencePieceProcessor,
    count: int = 64,
) -> Float[np.ndarray, " z"]:
    """By what factor real latents spread more than spoken ones, in `count` training sentences of
    the speaker whom the start token leads: one factor serves all."""
    streams = open_streams(frames)
    known = [(s, u) for s in streams for u in s.training_utterances(len(s.latents))]
    known = [(s, u) for s, u in known if u.speaker is None]
    if not known:
        raise FileNotFoundError(
            f"No training sentence in {frames} has latents to compare with. Run "
            "python -m training.mel_codec encode."
        )
    chosen = [known[i] for i in np.linspace(0, len(known) - 1, min(count, len(known)), dtype=int)]
    chosen.sort(key=lambda row: row[1].frames)
    real, spoken = [], []
    for at in range(0, len(chosen), BATCH):
        rows = chosen[at : at + BATCH]
        tokens = [spoken_tokens(u, tokenizer)[1].tolist() for _, u in rows]
        longest = 2 * max(u.frames for _, u in rows)
        said = speak_latents(config, tensors, tokens, max_frames=longest)
        spoken += [s.latents[: s.frames] for s in said]
        real += [s.latents[u.first : u.first + u.speech] for s, u in rows]
    return np.concatenate(real).std(0) / np.concatenate(spoken).std(0)
