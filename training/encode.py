"""Latents of the frames by Mimi's own encoder, once it is trained (`training.codec --part both`).

    python -m training.encode --config voice.yaml --mimi run/mimi.safetensors --frames frames/ \\
        --out codec.safetensors

Writes `NAME.latents` and, to `--out`, their statistics, which FlowLM's training and the export take
as `--codec`. Started again it adds what is missing; another encoder needs the latents removed.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from pocket_tts_jax.checkpoint import parameter_tree
from pocket_tts_jax.config import MimiConfig, load_config
from pocket_tts_jax.mimi import Mimi, init_encoder_state
from training.checkpoint import read_ema
from training.codec import ENCODER
from training.frames import FrameStream, open_streams

ROUND = 16  # frames to which utterances are padded, so that few lengths are compiled


class Encoder:
    """Utterances to latents, each from silence."""

    def __init__(self, config: MimiConfig, tensors: dict[str, np.ndarray]) -> None:
        encoder = {n: jnp.asarray(t) for n, t in tensors.items() if n.startswith(ENCODER)}
        self._variables = {"params": parameter_tree(encoder)}  # pyright: ignore
        self._frame_size, mimi = config.frame_size, Mimi(config)
        state = init_encoder_state(config, 1)
        self._step = jax.jit(lambda v, x: mimi.apply(v, state, x, method="encode_step"))

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """[samples] of whole frames -> [frames, z]."""
        frames = len(audio) // self._frame_size
        padded = np.pad(audio, (0, -frames % ROUND * self._frame_size))
        latents, _ = self._step(self._variables, padded[None])  # pyright: ignore
        return np.asarray(latents)[0, :frames]


def encode_stream(encode: Encoder, stream: FrameStream) -> int:
    """Appends the latents of utterances that have none yet; returns how many frames."""
    done = stream.whole_utterances(len(stream.latents))
    left = (u for u in stream.utterances if u.first >= done)
    return stream.append_latents(done, (encode(stream.audio(u.first, u.frames)) for u in left))


def main() -> None:
    parser = argparse.ArgumentParser(description="latents of frames by a trained encoder")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--mimi", type=Path, required=True, help="the encoder's training run")
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="statistics of the latents")
    args = parser.parse_args()
    encode = Encoder(load_config(args.config).mimi, read_ema(args.mimi))
    for stream in open_streams(args.frames):
        print(stream.name, encode_stream(encode, stream), "frames added", flush=True)
    latents = np.concatenate([np.asarray(s.latents) for s in open_streams(args.frames)])
    save_file({"latents.mean": latents.mean(0), "latents.std": latents.std(0)}, args.out)


if __name__ == "__main__":
    main()
