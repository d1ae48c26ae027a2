"""The mel autoencoder that defines the latents.

    python -m training.mel_codec train --frames frames/ --out mel_codec.safetensors
    python -m training.mel_codec encode --frames frames/ --codec mel_codec.safetensors

Log-mel (100 Hz) → 32 floats at 12.5 Hz → log-mel. It trains in minutes; frozen, it lets the
waveform decoder and FlowLM train independently, on latents that are already good. Gaussian noise
on the latent and a small L2 keep the latent space smooth (a VAE with a fixed variance). The
encoder sees one latent to either side; the decoder is causal, like Mimi's.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float
from safetensors.numpy import load_file, save_file

from pocket_tts_jax.model.layers import Linear
from training.frames import LATENT_DIM, FrameStream, claim_latents, open_streams
from training.losses.spectra import FRAME, MEL_BINS, MELS_PER_FRAME, SAMPLE_RATE, log_mel

NOISE = 0.3
MARGIN = 1  # latents that the encoder sees to either side


class MelEncoder(nn.Module):
    width: int = 384

    @nn.compact
    def __call__(self, mel: Float[Array, "b t 80"]) -> Float[Array, "b n 32"]:
        """Normalised log-mel of n + 2 frames to the latents of the inner n."""
        x = mel.reshape(len(mel), -1, MELS_PER_FRAME * MEL_BINS)
        x = jax.nn.silu(Linear(self.width, name="input")(x))
        around = jnp.concatenate([x[:, :-2], x[:, 1:-1], x[:, 2:]], axis=-1)
        x = x[:, 1:-1] + jax.nn.silu(Linear(self.width, name="context")(around))
        x = x + jax.nn.silu(Linear(self.width, name="hidden")(x))
        return Linear(LATENT_DIM, name="output")(x)


class MelDecoder(nn.Module):
    width: int = 384

    @nn.compact
    def __call__(self, latents: Float[Array, "b n 32"]) -> Float[Array, "b t 80"]:
        past = jnp.pad(latents, ((0, 0), (2, 0), (0, 0)))
        x = jnp.concatenate([past[:, :-2], past[:, 1:-1], past[:, 2:]], axis=-1)
        x = jax.nn.silu(Linear(self.width, name="input")(x))
        x = x + jax.nn.silu(Linear(self.width, name="hidden")(x))
        x = Linear(MELS_PER_FRAME * MEL_BINS, name="output")(x)
        return x.reshape(len(x), -1, MEL_BINS)


class MelCodec(nn.Module):
    def setup(self) -> None:
        self.encoder, self.decoder = MelEncoder(), MelDecoder()

    def encode(self, mel: Float[Array, "b t 80"]) -> Float[Array, "b n 32"]:
        return self.encoder(mel)

    def decode(self, latents: Float[Array, "b n 32"]) -> Float[Array, "b t 80"]:
        return self.decoder(latents)

    def __call__(self, mel: Float[Array, "b t 80"], noise: Float[Array, "b n 32"]) -> tuple:
        latents = self.encoder(mel)
        return latents, self.decoder(latents + NOISE * noise)


def codec_loss(params: dict, mel: Array, key: Array) -> tuple[Array, Array]:
    """L1 + ½ L2 of the mel, and a pull of the latents towards zero; also the L1 alone."""
    shape = (mel.shape[0], mel.shape[1] // MELS_PER_FRAME - 2 * MARGIN, LATENT_DIM)
    outputs: Any = MelCodec().apply(params, mel, jax.random.normal(key, shape))
    latents, decoded = outputs
    target = mel[:, MELS_PER_FRAME:-MELS_PER_FRAME]
    l1, l2 = jnp.abs(decoded - target).mean(), jnp.square(decoded - target).mean()
    return l1 + 0.5 * l2 + 2e-3 * jnp.square(latents).mean(), l1


def train_mel_codec(
    mels: Float[np.ndarray, "t 80"], steps: int, seed: int = 0, batch: int = 32, length: int = 24
) -> dict[str, np.ndarray]:
    """Fits the codec to one long log-mel stream; returns flat parameters with the statistics
    of the mel (`mel.mean`, `mel.scale`) and of the latents (`latents.mean`, `latents.std`)."""
    span = (length + 2 * MARGIN) * MELS_PER_FRAME
    if len(mels) < span:
        raise ValueError(
            f"{len(mels) // MELS_PER_FRAME} frames of speech are too few to train on: it takes at "
            f"least {span // MELS_PER_FRAME}. Give more --hours, or add frames."
        )
    mean = mels.mean(0)
    scale = (mels.std(0) + 1e-3).mean()
    stream = (mels - mean) / scale
    keys = jax.random.split(jax.random.key(seed), 2)
    example = jnp.zeros((1, 3 * MELS_PER_FRAME, MEL_BINS))
    params = MelCodec().init(keys[0], example, jnp.zeros((1, 1, LATENT_DIM)))
    warmup = min(200, steps // 4)
    schedule = optax.warmup_cosine_decay_schedule(0, 2e-3, warmup, steps, 5e-5)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    @jax.jit
    def update(params: dict, state: optax.OptState, mel: Array, key: Array) -> tuple:
        (_, l1), gradients = jax.value_and_grad(codec_loss, has_aux=True)(params, mel, key)
        updates, state = optimiser.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, l1

    state, draw, start = optimiser.init(params), np.random.default_rng(seed), time.monotonic()
    last = (len(stream) - span) // MELS_PER_FRAME
    for step in range(steps):
        offsets = draw.integers(0, last, batch, endpoint=True) * MELS_PER_FRAME
        mel = np.stack([stream[o : o + span] for o in offsets])
        params, state, l1 = update(params, state, mel, jax.random.fold_in(keys[1], step))
        if step % 250 == 0 or step == steps - 1:
            print(f"step {step}: mel L1 {l1:.4f}, {time.monotonic() - start:.0f} s", flush=True)
    flat = {k: np.asarray(v) for k, v in flatten_dict(params, sep="/").items()}
    flat |= {"mel.mean": mean, "mel.scale": np.array([scale], np.float32)}
    latents = encode_mels(flat, mels)
    return flat | {"latents.mean": latents.mean(0), "latents.std": latents.std(0)}


def encode_mels(
    codec: dict[str, np.ndarray], mels: Float[np.ndarray, "t 80"], block: int = 512
) -> Float[np.ndarray, "n 32"]:
    """Latents of a stream; its ends are repeated where the encoder looks beyond them."""
    params = unflatten_dict({k: v for k, v in codec.items() if k.startswith("params")}, sep="/")
    encode = jax.jit(lambda mel: MelCodec().apply(params, mel, method="encode"))
    normal = (mels - codec["mel.mean"]) / codec["mel.scale"]
    count, edge = len(normal) // MELS_PER_FRAME, MELS_PER_FRAME
    tail = -count % block + 1
    normal = np.concatenate([normal[:edge], normal, np.tile(normal[-edge:], (tail, 1))])
    latents = [
        np.asarray(encode(normal[None, s * edge : (s + block + 2) * edge])[0])
        for s in range(0, count, block)
    ]
    return np.concatenate(latents)[:count]


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
    parser = argparse.ArgumentParser(description="train the mel codec, or encode with it")
    actions = parser.add_subparsers(dest="action", required=True)
    train, encode = actions.add_parser("train"), actions.add_parser("encode")
    for action in (train, encode):
        action.add_argument("--frames", type=Path, required=True)
    train.add_argument("--out", type=Path, required=True)
    train.add_argument("--steps", type=int, default=4000)
    train.add_argument("--hours", type=float, default=2.0, help="of speech to train on")
    encode.add_argument("--codec", type=Path, required=True)
    args = parser.parse_args()
    streams = open_streams(args.frames)
    if args.action == "train":
        if args.out.exists():
            train.error(f"{args.out} exists, and latents may rely on it: give another name")
        mels = list(training_mels(streams, args.hours))
        if not mels:
            train.error(f"{args.frames} has only held-out utterances: add others to train on")
        save_file(train_mel_codec(np.concatenate(mels), args.steps), args.out)
        return
    codec = load_file(args.codec)
    claim_latents(args.frames, codec)
    for stream in streams:
        print(stream.name, encode_stream(codec, stream), "frames added", flush=True)


if __name__ == "__main__":
    main()
