"""Train Mimi: its decoder on frozen latents, its encoder to make them, or both together.

    python -m training.codec --config voice.yaml --frames frames/ --out run/mimi.safetensors
    python -m training.codec --part encoder ... --out run/encoder.safetensors
    python -m training.codec --part both ...    # no latents needed: `training.encode` makes them

Spectral losses first; then a second run with `--start FIRST --adversarial`, which adds a small
discriminator (the first run's, if it has one) once the spectra are right. Latents get a little
noise, because FlowLM's are not exact, and so that near ones sound alike. Started again with the
same `--out` it goes on from the last checkpoint.
"""

import argparse
from pathlib import Path
from typing import Any

from training.command_line import command_parser, positive, run_command
from training.loop.devices import split_host
from training.loop.initialise import DECODER, ENCODER

PARTS = {"decoder": DECODER, "encoder": ENCODER, "both": DECODER + ENCODER}


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--part", choices=PARTS, default="decoder", help="what is trained")
    parser.add_argument("--config", type=Path, required=True, help="configuration of the model")
    parser.add_argument("--frames", type=Path, required=True, help="folder of frames")
    parser.add_argument("--out", type=Path, required=True, help="the run: resumed if it is there")
    parser.add_argument("--steps", type=positive, default=20_000, help="in all, earlier runs too")
    parser.add_argument("--decay", type=int, default=1500, help="last steps, with a falling rate")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--rows", type=positive, default=4, help="stretches of speech in a step")
    parser.add_argument("--noise", type=float, help="std on normalised latents (default: 0.15)")
    parser.add_argument("--start", type=Path, help="begin with another run, or a model file")
    parser.add_argument("--adversarial", action="store_true", help="train a discriminator along")
    parser.add_argument(
        "--reload", type=positive, default=1000, help="steps between looks at the data"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.add_argument("--devices", type=positive, default=1, help="host devices, a core each")
    args = parser.parse_args()
    if args.part == "encoder" and (args.adversarial or args.noise is not None):
        parser.error("--adversarial and --noise are for the decoder: an encoder makes no sound")
    if args.noise is None:
        args.noise = 0.15
    split_host(args.devices)
    train(args)


def train(args: argparse.Namespace) -> None:
    import jax

    from pocket_tts_jax.config import load_config
    from pocket_tts_jax.weights.expected import under
    from training.batches.crops import Crops
    from training.batches.encoder import check_encoder
    from training.loop.checkpoint import read_start, started
    from training.loop.initialise import DISCRIMINATOR, initial_tensors
    from training.loop.log import TrainingLog
    from training.loop.trainer import Optimisation, Schedule, Trainer, run
    from training.losses.codec import discriminator_tensors, part_loss

    jax.config.update("jax_compilation_cache_dir", str(args.out.parent / "xla"))
    config = load_config(args.config)
    if args.part != "decoder":
        check_encoder(config)
    tensors = under(initial_tensors(config, args.seed), "mimi.")
    tensors = {n: t for n, t in tensors.items() if n.startswith(PARTS[args.part])}
    if args.adversarial:
        tensors |= discriminator_tensors(args.seed)
    if args.start:
        start = read_start(args.start, "mimi.")
        tensors = started(tensors, start, args.start, new=DISCRIMINATOR)
    schedule = Schedule(args.steps, args.rate, decay=args.decay)
    trainer = Trainer(
        {"codec": part_loss(args.part, config.mimi, args.noise)},
        tensors,
        Optimisation(schedule, clip=5.0, b1=0.8, b2=0.99, weight_decay=0.0),
        seed=args.seed,
        devices=args.devices,
    )
    if args.out.exists():
        trainer.resume(args.out)
    print(f"{sum(t.size for t in tensors.values()) / 1e6:.2f} M parameters", flush=True)
    crops = Crops(args.frames, with_latents=args.part != "both")
    rows = -(-args.rows // args.devices) * args.devices

    def next_batch(step: int) -> tuple[str, Any]:
        if step % args.reload == 0:
            print("frames:", crops.reload(), flush=True)
        return "codec", crops.batch(args.seed, step, rows)

    note = {k: str(v) for k, v in vars(args).items()}
    run(trainer, next_batch, args.out, TrainingLog(args.out.with_suffix(".jsonl")), note)


if __name__ == "__main__":
    run_command(main)
