"""The mel autoencoder that defines the latents.

    python -m training.mel_codec train --frames frames/ --out mel_codec.safetensors
    python -m training.mel_codec encode --frames frames/ --codec mel_codec.safetensors

Log-mel (100 Hz) → 32 floats at 12.5 Hz → log-mel. It trains in minutes; frozen, it lets the
waveform decoder and FlowLM train independently, on latents that are already good. Gaussian noise
on the latent and a small L2 keep the latent space smooth (a VAE with a fixed variance). The
encoder sees one latent to either side; the decoder is causal, like Mimi's. Until it is trained, the
run lies in NAME_run.safetensors beside `--out`, and the same command goes on from there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float
from safetensors.numpy import load_file, save_file

from training.batches.mel_codec import MARGIN, MelCodec, encode_mels
from training.command_line import Help, command_parser, positive, run_command
from training.data.spectra import FRAME, MEL_BINS, MELS_PER_FRAME, SAMPLE_RATE, log_mel
from training.data.streams import LATENT_DIM, FrameStream, claim_latents, open_streams
from training.errors import TrainingError
from training.loop.log import TrainingLog
from training.loop.trainer import Optimisation, Schedule, Trainer, run


class MelTerms(NamedTuple):
    l1: Array
    l2: Array


def codec_loss(tensors: dict[str, Array], mel: Array, key: Array) -> tuple[Array, MelTerms]:
    """L1 + ½ L2 of the mel, and a pull of the latents towards zero."""
    params = unflatten_dict(tensors, sep="/")
    shape = (mel.shape[0], mel.shape[1] // MELS_PER_FRAME - 2 * MARGIN, LATENT_DIM)
    outputs: Any = MelCodec().apply(params, mel, jax.random.normal(key, shape))
    latents, decoded = outputs
    target = mel[:, MELS_PER_FRAME:-MELS_PER_FRAME]
    l1, l2 = jnp.abs(decoded - target).mean(), jnp.square(decoded - target).mean()
    return l1 + 0.5 * l2 + 2e-3 * jnp.square(latents).mean(), MelTerms(l1, l2)


def train_mel_codec(
    mels: Float[np.ndarray, "t 80"],
    path: Path,
    steps: int,
    seed: int = 0,
    batch: int = 32,
    length: int = 24,
) -> dict[str, np.ndarray]:
    """Fits the codec to one long log-mel stream; returns flat parameters with the statistics
    of the mel (`mel.mean`, `mel.scale`) and of the latents (`latents.mean`, `latents.std`). The run
    is saved to `path` on the way, and goes on from there."""
    span = (length + 2 * MARGIN) * MELS_PER_FRAME
    if len(mels) < span:
        raise TrainingError(
            f"{len(mels) // MELS_PER_FRAME} frames of speech are too few to train on: it takes at "
            f"least {span // MELS_PER_FRAME}. Give more --hours, or add frames."
        )
    mean = mels.mean(0)
    scale = (mels.std(0) + 1e-3).mean()
    stream = (mels - mean) / scale
    example = jnp.zeros((1, 3 * MELS_PER_FRAME, MEL_BINS))
    params = MelCodec().init(jax.random.key(seed), example, jnp.zeros((1, 1, LATENT_DIM)))
    tensors: Any = flatten_dict(params, sep="/")
    schedule = Schedule(steps, 2e-3, warmup=max(1, min(200, steps // 4)), decay=steps)
    trainer = Trainer(
        {"codec": codec_loss},
        tensors,
        Optimisation(schedule, b2=0.999, weight_decay=0.0),
        seed,
    )
    if path.exists():
        trainer.resume(path)
    last = (len(stream) - span) // MELS_PER_FRAME

    def next_batch(step: int) -> tuple[str, np.ndarray]:
        draw = np.random.default_rng([seed, step])
        offsets = draw.integers(0, last, batch, endpoint=True) * MELS_PER_FRAME
        return "codec", np.stack([stream[o : o + span] for o in offsets])

    run(trainer, next_batch, path, TrainingLog(path.with_suffix(".jsonl")), {"seed": seed})
    flat = {name: np.asarray(tensor) for name, tensor in trainer.state.tensors.items()}
    flat |= {"mel.mean": mean, "mel.scale": np.array([scale], np.float32)}
    latents = encode_mels(flat, mels)
    return flat | {"latents.mean": latents.mean(0), "latents.std": latents.std(0)}


def training_mels(
    streams: Sequence[FrameStream], hours: float
) -> Iterator[Float[np.ndarray, "t 80"]]:
    """Log-mel of the first `hours`, in equal parts of all streams, without what is held out."""
    limit = hours * 3600 * SAMPLE_RATE / FRAME / len(streams)
    for stream in streams:
        taken = 0
        for u in stream.training_utterances(len(stream.pcm)):
            if taken >= limit:
                break
            yield log_mel(stream.audio(u.first, u.frames))
            taken += u.frames


def encode_stream(codec: dict[str, np.ndarray], stream: FrameStream, chunk: int = 4096) -> int:
    """Appends the latents of whole utterances that have none yet; returns how many frames."""

    def blocks(done: int) -> Iterator[Float[np.ndarray, "n 32"]]:
        while ends := [u.first + u.frames for u in stream.utterances if u.first >= done]:
            stop = max((end for end in ends if end <= done + chunk), default=ends[0])
            yield encode_mels(codec, log_mel(stream.audio(done, stop - done)))
            done = stop

    done = stream.whole_utterances(len(stream.latents))
    return stream.append_latents(done, blocks(done))


def main() -> None:
    parser = command_parser(__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train", help="fit the codec to speech", formatter_class=Help)
    encode = actions.add_parser("encode", help="make latents with it", formatter_class=Help)
    for action in (train, encode):
        action.add_argument("--frames", type=Path, required=True, help="folder of frames")
    train.add_argument("--out", type=Path, required=True, help="new file for the codec")
    train.add_argument("--steps", type=positive, default=4000, help="of training")
    train.add_argument("--hours", type=float, default=2.0, help="of speech to train on")
    encode.add_argument("--codec", type=Path, required=True, help="what train wrote")
    args = parser.parse_args()
    streams = open_streams(args.frames)
    if args.action == "train":
        if args.out.exists():
            train.error(f"{args.out} exists, and latents may rely on it: give another name")
        print(f"reading speech, {args.hours:g} hours at most", flush=True)
        mels = list(training_mels(streams, args.hours))
        if not mels:
            train.error(
                f"{args.frames} has only held-out utterances, which come first: add others to "
                "train on (more --hours of training.data.teacher)"
            )
        path = args.out.with_name(f"{args.out.stem}_run.safetensors")
        save_file(train_mel_codec(np.concatenate(mels), path, args.steps), args.out)
        path.unlink()
        return
    codec = load_file(args.codec)
    claim_latents(args.frames, codec)
    for stream in streams:
        print(stream.name, encode_stream(codec, stream), "frames added", flush=True)


if __name__ == "__main__":
    run_command(main)
