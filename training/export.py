"""Export trained tensors as a model folder in the published format.

    python -m training.export --config voice.yaml --flow-lm run/flow_lm.safetensors \\
        --mimi run/mimi.safetensors --codec mel_codec.safetensors \\
        --tokenizer tokenizer.model --voice joe --out folder/ --half --frames frames/ --variance 1

The folder holds `config.yaml`, `model.safetensors`, `tokenizer.model` and `voices/NAME.safetensors`
(the attention cache of the start token: a model of one voice needs no more). The reference loads
it too, with paths made absolute in the config. The Mimi encoder is there because the format
demands it, trained or not; a model that learned one voice does not offer cloning.
"""

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save
from sentencepiece import SentencePieceProcessor

from pocket_tts_jax.config import Config, load_config
from pocket_tts_jax.files.atomic import atomic_file
from pocket_tts_jax.files.verify import sums_of, write_sums
from pocket_tts_jax.model.flow_lm import FlowLM, init_state
from pocket_tts_jax.voice.state import VoiceState, write_voice
from pocket_tts_jax.weights.checkpoint import check_tensors, parameter_tree
from pocket_tts_jax.weights.expected import parameter_shapes, under
from training.codec import ENCODER
from training.judging.variance import lacking_spread
from training.loop.checkpoint import read_ema, read_statistics
from training.loop.initialise import initial_tensors
from training.losses.codec_loss import DISCRIMINATOR

UNTRAINED = tuple(f"mimi.{part}" for part in ENCODER)
PROJECTION = "flow_lm.speaker_proj_weight"


def gather_tensors(
    config: Config,
    flow_lm: Mapping[str, np.ndarray],
    mimi: Mapping[str, np.ndarray],
    mean: np.ndarray,
    std: np.ndarray,
) -> dict[str, np.ndarray]:
    """All tensors of the published file: trained ones, the latents' statistics, and what no run
    has to train: the encoder (first values), the voice projection (zeros), the frequencies of the
    times (constants)."""
    first = initial_tensors(config)
    tensors = {n: t for n, t in first.items() if n.startswith(UNTRAINED) or n.endswith(".freqs")}
    tensors[PROJECTION] = np.zeros_like(first[PROJECTION])
    tensors |= {f"flow_lm.{name}": tensor for name, tensor in flow_lm.items()}
    tensors |= {f"mimi.{n}": t for n, t in mimi.items() if not n.startswith(DISCRIMINATOR)}
    tensors |= {"flow_lm.emb_mean": mean, "flow_lm.emb_std": std}
    found = {name: np.shape(tensor) for name, tensor in tensors.items()}
    check_tensors(found, parameter_shapes(config), "the training checkpoints")
    return tensors


def start_voice(
    config: Config, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> VoiceState:
    """The cache after the start token alone."""
    model = FlowLM.of(config)
    variables = {"params": parameter_tree(under(tensors, "flow_lm."))}
    nothing = jnp.zeros((1, 0, config.mimi.encoded_dim))
    prefix = model.apply(variables, nothing, method="embed_voice")
    state = init_state(config.flow_lm, 1, prefix.shape[1])  # pyright: ignore
    one = jnp.array([prefix.shape[1]], jnp.int32)  # pyright: ignore
    state = jax.jit(lambda v: model.apply(v, state, prefix, one, method="prefill"))(variables)
    k = np.stack([np.asarray(layer.k[0]) for layer in state.layers])  # pyright: ignore
    v = np.stack([np.asarray(layer.v[0]) for layer in state.layers])  # pyright: ignore
    return VoiceState(k, v, metadata=metadata)


def write_model(path: Path, tensors: Mapping[str, np.ndarray], half: bool) -> None:
    """`model.safetensors`; with `half`, matrices as float16 (vectors are small and stay)."""
    stored = {
        name: np.ascontiguousarray(tensor, np.float16 if half and tensor.ndim > 1 else np.float32)
        for name, tensor in tensors.items()
    }
    with atomic_file(path) as file:
        file.write(save(stored))


def as_stored(tensors: Mapping[str, np.ndarray], half: bool) -> dict[str, np.ndarray]:
    """The tensors as they read back: rounded to float16 where `write_model` does so."""
    return {
        name: tensor.astype(np.float16).astype(np.float32) if half and tensor.ndim > 1 else tensor
        for name, tensor in tensors.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="export a trained model")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--flow-lm", type=Path, required=True)
    parser.add_argument("--mimi", type=Path, required=True)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--voice", default="joe")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--last", action="store_true", help="last tensors instead of averages")
    parser.add_argument("--half", action="store_true", help="store matrices as float16")
    parser.add_argument("--encoder", type=Path, help="run of training.codec --part encoder")
    parser.add_argument("--frames", type=Path, help="for --variance")
    parser.add_argument(
        "--variance",
        type=float,
        default=0.0,
        help="power of the factors that give latents the spread of real ones: 0 leaves them, "
        "1 matches, more is clearer still (training.judging.variance)",
    )
    args = parser.parse_args()
    if bool(args.variance) != bool(args.frames):
        parser.error("--variance and --frames go together: the spread is measured on recordings")
    config, statistics = load_config(args.config), read_statistics(args.codec)
    flow_lm, mimi = (read_ema(path, args.last) for path in (args.flow_lm, args.mimi))
    if args.encoder:
        mimi |= read_ema(args.encoder, args.last)
    tensors = gather_tensors(config, flow_lm, mimi, *statistics)
    if args.variance:
        tokenizer = SentencePieceProcessor(model_file=str(args.tokenizer))
        factors = lacking_spread(config, tensors, args.frames, tokenizer) ** args.variance
        print(f"latents spread by {factors.min():.2f} to {factors.max():.2f}")
        tensors["flow_lm.emb_std"] = (tensors["flow_lm.emb_std"] * factors).astype(np.float32)
    (args.out / "voices").mkdir(parents=True, exist_ok=True)
    write_model(args.out / "model.safetensors", tensors, args.half)
    shutil.copyfile(args.config, args.out / "config.yaml")
    shutil.copyfile(args.tokenizer, args.out / "tokenizer.model")
    about = {"source": "start token only", "licence": "CC0-1.0"}
    voice = start_voice(config, as_stored(tensors, args.half), about)
    write_voice(args.out / "voices" / f"{args.voice}.safetensors", voice)
    write_sums(args.out, sums_of(args.out))
    size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file())
    print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
