"""Latents of the frames by Mimi's own encoder, once it is trained (`training.codec --part both`).

    python -m training.encode --config voice.yaml --mimi run/mimi.safetensors --frames frames/ \\
        --out codec.safetensors

Writes `NAME.latents` and, to `--out`, their statistics, which FlowLM's training and the export take
as `--codec`. Started again it adds what is missing; the statistics stay, because FlowLM has learned
latents that were normalised with them.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from pocket_tts_jax.config import load_config
from training.batches.encoder import Encoder
from training.command_line import command_parser, run_command
from training.data.streams import FrameStream, claim_latents, open_streams
from training.loop.checkpoint import read_ema


def encode_stream(encode: Encoder, stream: FrameStream) -> int:
    """Appends the latents of utterances that have none yet; returns how many frames."""
    done = stream.whole_utterances(len(stream.latents))
    left = (u for u in stream.utterances if u.first >= done)
    return stream.append_latents(done, (encode(stream.audio(u.first, u.frames)) for u in left))


def latent_statistics(streams: list[FrameStream]) -> dict[str, np.ndarray]:
    """Mean and standard deviation over what is not held out."""
    latents = np.concatenate(
        [
            s.latents[u.first : u.first + u.frames]
            for s in streams
            for u in s.training_utterances(len(s.latents))
        ]
    )
    return {"latents.mean": latents.mean(0), "latents.std": latents.std(0)}


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="configuration of the model")
    parser.add_argument("--mimi", type=Path, required=True, help="the encoder's training run")
    parser.add_argument("--frames", type=Path, required=True, help="folder of frames")
    parser.add_argument("--out", type=Path, required=True, help="statistics of the latents")
    args = parser.parse_args()
    encode = Encoder(load_config(args.config), read_ema(args.mimi))
    fresh = claim_latents(args.frames, encode.tensors)
    if fresh and args.out.exists():
        parser.error(f"{args.out} holds the statistics of other latents: give another name")
    for stream in open_streams(args.frames):
        print(stream.name, encode_stream(encode, stream), "frames added", flush=True)
    if not args.out.exists():
        save_file(latent_statistics(open_streams(args.frames)), args.out)


if __name__ == "__main__":
    run_command(main)
