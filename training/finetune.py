"""Fine-tune any checkpoint in the published format on recordings with transcripts.

    python -m training.finetune adapters --config C.yaml --weights W.safetensors --data folder/ \\
        --tokenizer T --out tuned/
    python -m training.finetune full     ...
    python -m training.finetune voice    ... --voice V.safetensors

`adapters` trains low-rank additions to FlowLM's matrices, `full` all of FlowLM, and both write a
checkpoint in the published format (adapters merged) to `OUT/model.safetensors`. `voice` trains
nothing but the voice state, starting from `--voice`, and writes `OUT/voice.safetensors`. The run
itself lies in `OUT/training.safetensors` and is resumed from there.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array

from pocket_tts_jax.config import Config, load_config
from pocket_tts_jax.errors import VoiceError
from pocket_tts_jax.model.attention import KVCache
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.voice.state import VoiceState, read_voice, write_voice
from pocket_tts_jax.weights.checkpoint import load_checkpoint
from pocket_tts_jax.weights.expected import parameter_shapes, under
from training.batches.recordings import RecordingBatches, encode_recordings
from training.export import write_model
from training.loop.adapters import merge_adapters, new_adapters
from training.loop.checkpoint import read_ema
from training.loop.log import TrainingLog
from training.loop.trainer import Optimisation, Schedule, Trainer, run
from training.losses.flow_lm import LMObjective, lm_loss

# No alignments are known here, and history noise is moderate.
TUNING = LMObjective(map=0.0, align=0.0, history_noise=(0.0, 0.5), history_dropout=0.05)
# What teaches each kind of head a distribution, not its mean: a flow for those that take times, a
# proper score for those that make a latent of the noise in one step.
OBJECTIVES = {
    "lsd": replace(TUNING, flow=0.75, distill=0.25),
    "flow_matching": replace(TUNING, flow=1.0),
    "drifting": replace(TUNING, flow=0.0, energy=1.0),
    "pointwise": replace(TUNING, flow=0.0, energy=1.0),
}
FIXED = ("emb_mean", "emb_std", "freqs", "speaker_proj_weight")
Merge = Callable[[Mapping[str, Any]], tuple[dict[str, Any], KVCache | None]]


def trainable_part(
    what: str, flow_lm: dict[str, np.ndarray], voice: VoiceState | None, rank: int
) -> tuple[dict[str, np.ndarray], Merge]:
    """What is trained, and how FlowLM's tensors and the voice are made of it."""
    state = None if voice is None else KVCache(voice.k, voice.v)  # pyright: ignore
    if what == "adapters":
        return new_adapters(flow_lm, rank), lambda t: (merge_adapters(flow_lm, t), state)
    if what == "full":
        free = {n: t for n, t in flow_lm.items() if not n.endswith(FIXED)}
        return free, lambda t: (flow_lm | dict(t), state)
    if voice is None:
        raise VoiceError("Tuning a voice needs one to start from: give --voice FILE.")
    start = {"voice.k": voice.k, "voice.v": voice.v}
    return start, lambda t: (flow_lm, KVCache(t["voice.k"], t["voice.v"]))


def make_loss(config: Config, merge: Merge) -> Callable:
    objective = OBJECTIVES[config.flow_lm.flow.type]

    def loss(trainable: dict[str, Array], batch: Any, key: Array) -> tuple[Array, Any]:
        params, voice = merge(trainable)
        return lm_loss(params, batch, key, config, objective, voice)

    return loss


def finetune(args: argparse.Namespace) -> None:
    config = load_config(args.config)
    tensors = load_checkpoint(args.weights, parameter_shapes(config))
    table = config.flow_lm.lookup_table
    tokenizer = load_tokenizer(table.tokenizer, args.tokenizer, table.n_bins)
    examples = list(encode_recordings(args.data, config, tensors, tokenizer))
    voice = read_voice(args.voice, config) if args.voice else None
    if voice is not None and not isinstance(voice, VoiceState):
        raise VoiceError(f"{args.voice} is of the old kind; export it for this model first.")
    flow_lm = under(tensors, "flow_lm.")
    start, merge = trainable_part(args.what, flow_lm, voice, args.rank)
    schedule = Schedule(args.steps, args.rate, warmup=20, decay=args.steps // 2)
    trainer = Trainer(
        {"tune": make_loss(config, merge)},
        start,
        Optimisation(schedule, weight_decay=0.0, ema=0.99),
        seed=args.seed,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "training.safetensors"
    if path.exists():
        trainer.resume(path)
    batches = RecordingBatches(examples, args.rows)
    note = {k: str(v) for k, v in vars(args).items()}
    log = TrainingLog(path.with_suffix(".jsonl"), every=10)
    run(trainer, lambda step: ("tune", batches.batch(args.seed, step)), path, log, note)
    if trainer.step < args.steps:
        print(f"stopped and saved at step {trainer.step} of {args.steps}: start again to go on")
        return
    write_result(args, tensors, merge(read_ema(path)))


def write_result(
    args: argparse.Namespace,
    tensors: dict[str, np.ndarray],
    tuned: tuple[dict[str, Any], KVCache | None],
) -> None:
    params, voice = tuned
    if args.what == "voice":
        assert voice is not None
        state = VoiceState(np.asarray(voice.k), np.asarray(voice.v))
        write_voice(args.out / "voice.safetensors", state)
        return
    merged = tensors | {f"flow_lm.{n}": np.asarray(t) for n, t in params.items()}
    write_model(args.out / "model.safetensors", merged, half=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="fine-tune a published checkpoint")
    parser.add_argument("what", choices=["adapters", "full", "voice"])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="NAME.wav with NAME.txt")
    parser.add_argument("--voice", type=Path, help="voice state that leads every utterance")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    finetune(parser.parse_args())


if __name__ == "__main__":
    main()
