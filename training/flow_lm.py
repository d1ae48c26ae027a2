"""Train FlowLM on frozen latents.

    python -m training.flow_lm --config voice.yaml --frames frames/ --tokenizer tokenizer.model \\
        --codec mel_codec.safetensors --out run/flow_lm.safetensors --steps 20000

Started again with the same `--out` it goes on from the last checkpoint; frames that were added
in the meantime are taken in. Watch with `python -m training.plot run/flow_lm.jsonl`.
"""

import argparse
from pathlib import Path
from typing import Any

from training.command_line import command_parser, positive, run_command
from training.loop.devices import split_host


def main() -> None:
    args = _parser().parse_args()
    split_host(args.devices)
    train(args)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="configuration of the model")
    parser.add_argument("--frames", type=Path, required=True, help="folder of frames")
    parser.add_argument("--tokenizer", type=Path, required=True, help="what the teacher read by")
    parser.add_argument("--codec", type=Path, required=True, help="mel codec, for its statistics")
    parser.add_argument("--out", type=Path, required=True, help="the run: resumed if it is there")
    parser.add_argument("--start", type=Path, help="begin with another run, or a model file")
    parser.add_argument("--steps", type=positive, default=20_000, help="in all, earlier runs too")
    parser.add_argument("--decay", type=int, default=1500, help="last steps, with a falling rate")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--align", type=float, default=0.1, help="weight of guided attention")
    parser.add_argument(
        "--flow",
        type=float,
        help="weight of the flow term (default: 0.25; 0 without times)",
    )
    parser.add_argument(
        "--distill",
        type=float,
        default=0.0,
        help="weight of distillation, on every fourth step that has no --own-history",
    )
    parser.add_argument(
        "--own-history",
        type=float,
        default=0.0,
        help="share of rows that read the model's own prediction as history, every third step",
    )
    parser.add_argument("--own-from", type=int, default=0, help="first step of --own-history")
    parser.add_argument(
        "--reload", type=positive, default=500, help="steps between looks at the data"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.add_argument("--devices", type=positive, default=1, help="host devices, a core each")
    return parser


def is_hidden(name: str) -> bool:
    """Matrices between hidden states; Muon is for those, not for tables and projections in or out
    of the model."""
    if name.startswith("flow_net."):
        return "input_proj" not in name and "final_layer" not in name
    return name.startswith("transformer.layers.")


def train(args: argparse.Namespace) -> None:
    """Reads the data, builds the losses and runs; imports JAX only here, after the flags."""
    from dataclasses import replace

    import jax

    from pocket_tts_jax.config import load_config
    from pocket_tts_jax.weights.expected import under
    from training.batches.examples import Examples
    from training.data.tokenizer import open_tokenizer
    from training.loop.checkpoint import read_start, read_statistics, started
    from training.loop.initialise import VOICES, initial_tensors, initial_voices
    from training.loop.log import TrainingLog
    from training.loop.trainer import Optimisation, Schedule, Trainer, run
    from training.losses.flow_lm import LMObjective, lm_loss

    jax.config.update("jax_compilation_cache_dir", str(args.out.parent / "xla"))
    config, (mean, std) = load_config(args.config), read_statistics(args.codec)
    tokenizer = open_tokenizer(args.tokenizer)
    examples = Examples(args.frames, tokenizer, mean, std)
    tensors = under(initial_tensors(config, args.seed), "flow_lm.")
    start = read_start(args.start, "flow_lm.") if args.start else {}
    if examples.speakers and config.flow_lm.insert_bos_before_voice:
        token = (start or tensors)["bos_before_voice"]
        tensors |= initial_voices(token, examples.speakers, args.seed)
    if args.start:
        tensors = started(tensors, start, args.start, new=VOICES)
    fixed = {"emb_mean": mean, "emb_std": std}
    fixed |= {n: t for n, t in tensors.items() if n.endswith("freqs") or n.startswith("speaker")}
    flow = args.flow
    if flow is None:
        flow = 0.25 if config.flow_lm.flow.time_conditions else 0.0
    plain = LMObjective(flow=flow, align=args.align)
    objectives = {
        "plain": plain,
        "distilled": replace(plain, distill=args.distill),
        "own": replace(plain, own_history=args.own_history),
    }

    def loss_of(objective: LMObjective) -> Any:
        return lambda params, batch, key: lm_loss(fixed | params, batch, key, config, objective)

    trainer = Trainer(
        {name: loss_of(objective) for name, objective in objectives.items()},
        {name: tensor for name, tensor in tensors.items() if name not in fixed},
        Optimisation(Schedule(args.steps, args.rate, warmup=150, decay=args.decay), is_hidden),
        seed=args.seed,
        devices=args.devices,
    )
    if args.out.exists():
        trainer.resume(args.out)
    print(f"{sum(t.size for t in tensors.values()) / 1e6:.2f} M parameters", flush=True)

    def next_batch(step: int) -> tuple[str, Any]:
        if step % args.reload == 0:
            print("rows to draw from:", examples.reload(), flush=True)
        batch = examples.batch(args.seed, step, trainer.multiple)[1]
        if args.own_history > 0 and step >= args.own_from and step % 3 == 2:
            return "own", batch
        return "distilled" if args.distill > 0 and step % 4 == 3 else "plain", batch

    note = {k: str(v) for k, v in vars(args).items()}
    run(trainer, next_batch, args.out, TrainingLog(args.out.with_suffix(".jsonl")), note)


if __name__ == "__main__":
    run_command(main)
