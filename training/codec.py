"""Train the waveform decoder (Mimi's decoder side) on frozen latents.

    python -m training.codec --config voice.yaml --frames frames/ --out run/mimi.safetensors

Spectral losses first; then a second run with `--start FIRST --adversarial`, which adds a small
multi-scale STFT discriminator once the spectra are right. Latents get a little noise, because
FlowLM's are not exact. Started again with the same `--out` it goes on from the last checkpoint.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

FRAMES = 14  # of one training crop
DECODER = ("decoder.", "decoder_transformer.", "upsample.", "quantizer.")


def main() -> None:
    parser = argparse.ArgumentParser(description="train the waveform decoder")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--decay", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--noise", type=float, default=0.15, help="std on normalised latents")
    parser.add_argument("--start", type=Path, help="begin with the tensors of another run")
    parser.add_argument("--adversarial", action="store_true", help="train a discriminator along")
    parser.add_argument("--reload", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--devices", type=int, default=1)
    args = parser.parse_args()
    if args.devices > 1:
        flag = f"--xla_force_host_platform_device_count={args.devices}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    train(args)


class Crops:
    """Random stretches of the stream, the same for the same (seed, step) and data."""

    def __init__(self, folder: Path, frames: int = FRAMES) -> None:
        self.folder, self.frames = folder, frames
        self.reload()

    def reload(self) -> int:
        """Takes in what has been added; returns the number of frames there are now."""
        from training.frames import open_streams

        streams = [s for s in open_streams(self.folder) if len(s.latents) > self.frames]
        self.streams = streams
        self.sizes = np.array([min(len(s.latents), len(s.pcm)) for s in streams])
        return int(self.sizes.sum())

    def batch(self, seed: int, step: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Latents [rows, frames, 32] and audio [rows, frames · 1920]."""
        draw = np.random.default_rng([seed, step])
        latents, audio = [], []
        for _ in range(rows):
            i = draw.choice(len(self.sizes), p=self.sizes / self.sizes.sum())
            first = int(draw.integers(0, self.sizes[i] - self.frames))
            latents.append(self.streams[i].latents[first : first + self.frames])
            audio.append(self.streams[i].audio(first, self.frames))
        return np.stack(latents), np.stack(audio)


def train(args: argparse.Namespace) -> None:
    import jax
    import jax.numpy as jnp

    from pocket_tts_jax.config import load_config
    from training.checkpoint import read_ema
    from training.codec_loss import codec_loss, discriminator_tensors
    from training.initialise import initial_tensors, select
    from training.log import TrainingLog
    from training.trainer import Optimisation, Schedule, Trainer, run

    jax.config.update("jax_compilation_cache_dir", str(args.out.parent / "xla"))
    config = load_config(args.config)
    tensors = select(initial_tensors(config, args.seed), "mimi.")
    tensors = {n: t for n, t in tensors.items() if n.startswith(DECODER)}
    if args.start:
        tensors |= read_ema(args.start)
    if args.adversarial:
        tensors |= discriminator_tensors(args.seed)

    def loss(params: dict, batch: tuple, key: Any) -> tuple:
        latents, audio = batch
        scale = args.noise * latents.std((0, 1))
        latents = latents + scale * jax.random.normal(key, latents.shape)
        return codec_loss(params, latents, jnp.asarray(audio), config.mimi)

    trainer = Trainer(
        {"codec": loss},
        tensors,
        Optimisation(
            Schedule(args.steps, args.rate, decay=args.decay),
            clip=5.0,
            b1=0.8,
            b2=0.99,
            weight_decay=0.0,
        ),
        seed=args.seed,
        devices=args.devices,
    )
    if args.out.exists():
        print("resumed:", trainer.resume(args.out))
    print(f"{sum(t.size for t in tensors.values()) / 1e6:.2f} M parameters", flush=True)
    crops = Crops(args.frames)
    rows = -(-args.rows // args.devices) * args.devices

    def next_batch(step: int) -> tuple[str, Any]:
        if step % args.reload == 0:
            print("frames:", crops.reload(), flush=True)
        return "codec", crops.batch(args.seed, step, rows)

    note = {k: str(v) for k, v in vars(args).items()}
    run(trainer, next_batch, args.out, TrainingLog(args.out.with_suffix(".jsonl")), note)


if __name__ == "__main__":
    main()
