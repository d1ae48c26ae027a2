"""What FlowLM says in place of each latent while it follows a recording.

    python -m training.forced --config voice.yaml --flow-lm run/flow_lm.safetensors \\
        --codec mel_codec.safetensors --tokenizer tokenizer.model --frames frames/

Writes `NAME.forced` beside `NAME.latents`, frame by frame in step with the sound. A decoder that
is trained on them too (`training.codec --forced`) learns to make full speech of FlowLM's latents,
which are smoother than real ones (Shen et al. 2018, https://arxiv.org/abs/1712.05884, trained its
vocoder so). Started again it makes what is missing; another FlowLM needs the files removed.

`training.evaluate --what forced` speaks so too: it tells exposure bias from a model that knows too
little.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file

from pocket_tts_jax.checkpoint import parameter_tree
from pocket_tts_jax.config import Config, load_config
from pocket_tts_jax.flow_lm import FlowLM
from training.checkpoint import read_ema
from training.export import gather_tensors
from training.frames import LATENT_DIM, FrameStream, Utterance, open_streams, read_latents
from training.initialise import select
from training.lm_data import Bucket, Example, collate, spoken_tokens
from training.lm_loss import LMObjective, predict_means

ROWS, ROUND = 16, 32  # utterances predicted at once, and what lengths are rounded up to
Row = tuple[FrameStream, Utterance]
# (rows, their tokens) -> latents as Mimi decodes them
Predictor = Callable[[Sequence[Row], Sequence[Sequence[int]]], list[Float[np.ndarray, "t z"]]]


def predictor(
    config: Config,
    tensors: Mapping[str, np.ndarray],
    history_noise: float = 0.0,
    own_history: bool = False,
    seed: int = 0,
) -> Predictor:
    """One-step predictions of every frame of some utterances: from the true history, noised, or
    with `own_history` from what was predicted so, which comes closer to speaking freely."""
    mean, std = tensors["flow_lm.emb_mean"], tensors["flow_lm.emb_std"]
    params = {k: jnp.asarray(v) for k, v in select(tensors, "flow_lm.").items()}
    model, variables = FlowLM.of(config), {"params": parameter_tree(params)}  # pyright: ignore
    sigma = (history_noise, history_noise)
    objective = LMObjective(align=0.0, history_noise=sigma, history_dropout=0.0)

    @jax.jit
    def predict(variables: dict, params: dict, batch: tuple) -> jax.Array:
        arguments = model, variables, params, batch, jax.random.key(seed), objective
        means = predict_means(*arguments)  # pyright: ignore
        return predict_means(*arguments, history=means) if own_history else means  # pyright: ignore

    def of(rows: Sequence[Row], tokens: Sequence[Sequence[int]]) -> list:
        examples = []
        for (stream, u), ids in zip(rows, tokens, strict=True):
            latents = (stream.latents[u.first : u.first + u.frames] - mean) / std
            examples.append(Example(u.text, np.asarray(ids, np.int32), latents, u.speech, None))
        frames = _rounded(max(len(e.latents) for e in examples))
        text = _rounded(1 + max(len(e.tokens) for e in examples))
        batch = collate(examples, Bucket(text + frames, frames, len(examples)))
        predicted = np.asarray(predict(variables, params, batch)) * std + mean
        return [predicted[i, : len(e.latents)] for i, e in enumerate(examples)]

    return of


def _rounded(count: int) -> int:
    return -(-count // ROUND) * ROUND


def append_forced(stream: FrameStream, tokens: Sequence[Sequence[int]], predict: Predictor) -> int:
    """Completes the stream's file; returns the number of frames that were added. `tokens` are
    those of every utterance."""
    utterances = stream.utterances
    known = stream.whole_utterances(len(read_latents(stream.forced_path)))
    wanted = [
        i
        for i, u in enumerate(utterances)
        if u.first >= known and u.first + u.frames <= len(stream.latents)
    ]
    if not wanted:
        return 0
    first, last = utterances[wanted[0]].first, utterances[wanted[-1]]
    forced = np.zeros((last.first + last.frames - first, LATENT_DIM), np.float32)
    by_length = sorted(wanted, key=lambda i: utterances[i].frames)
    for at in range(0, len(by_length), ROWS):
        chosen = by_length[at : at + ROWS]
        rows = [(stream, utterances[i]) for i in chosen]
        for (_, u), said in zip(rows, predict(rows, [tokens[i] for i in chosen]), strict=True):
            forced[u.first - first : u.first - first + u.frames] = said
    with open(stream.forced_path, "ab") as file:
        file.truncate(first * 4 * LATENT_DIM)  # an utterance that a kill cut in two
        file.write(forced.tobytes())
    return len(forced)


def main() -> None:
    import sentencepiece

    parser = argparse.ArgumentParser(description="FlowLM's latents in step with recordings")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--flow-lm", type=Path, required=True)
    parser.add_argument("--last", action="store_true", help="its last tensors, no averages")
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--frames", type=Path, required=True)
    args = parser.parse_args()
    config, codec = load_config(args.config), load_file(args.codec)
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(args.tokenizer))
    flow_lm = read_ema(args.flow_lm, args.last)
    tensors = gather_tensors(config, flow_lm, {}, codec["latents.mean"], codec["latents.std"])
    predict = predictor(config, tensors, own_history=True)
    for stream in open_streams(args.frames):
        tokens = [spoken_tokens(u, tokenizer)[1].tolist() for u in stream.utterances]
        print(stream.name, append_forced(stream, tokens, predict), "frames added", flush=True)


if __name__ == "__main__":
    main()
