"""Give what a model speaks the spread of real speech.

    python -m training.spread --model folder/ --codec mel_codec.safetensors --frames frames/ \\
        --out folder_wide/ --codec-out mel_codec_turned.safetensors

A model that predicts means speaks too evenly: its latents spread less than real ones and sound
muffled. They are moved by the linear map that gives them the covariance of real ones and moves them
least ("global variance", Toda and Tokuda 2007, https://doi.org/10.1093/ietisy/e90-d.5.816; the map:
Peyré and Cuturi 2019, https://arxiv.org/abs/1803.00567, remark 2.31). Along its own axes the map is
a factor for each. So the axes of the latents are turned to those, in FlowLM, in front of Mimi's
decoder and in the codec, where it changes nothing; then the factors are `emb_std`, which only what
is spoken passes. They cost nothing in any engine.

The model and the codec that come out belong together: latents of the other codec are not theirs. It
is for models without a trained encoder, and takes the speaker whom the start token leads; one map
serves all.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from sentencepiece import SentencePieceProcessor

from pocket_tts_jax.config import Config
from pocket_tts_jax.files.verify import SUMS, sums_of, write_sums
from pocket_tts_jax.weights.settings import ModelSettings
from pocket_tts_jax.weights.source import WEIGHTS
from training.batches.examples import spoken_tokens
from training.command_line import command_parser, positive, run_command
from training.data.streams import open_streams
from training.data.tokenizer import open_tokenizer
from training.errors import TrainingError
from training.judging.speak import speak_latents
from training.judging.subjects import load_tensors
from training.loop.checkpoint import read_statistics
from training.loop.published import write_model

BATCH = 16  # sentences that are spoken at a time

Tensors = Mapping[str, np.ndarray]
Latents = Float[np.ndarray, "n z"]


class Spread(NamedTuple):
    """A linear map of normalised latents, by its axes (as columns) and the factor along each."""

    axes: Float[np.ndarray, "z z"]
    factors: Float[np.ndarray, " z"]


def lacking_spread(spoken: Latents, real: Latents) -> Spread:
    """The map that moves `spoken` least and gives them the covariance of `real`."""
    # A direction in which nothing is ever spoken would get an endless factor.
    floor = 1e-6 * np.eye(spoken.shape[1])
    has, wanted = np.cov(spoken.T) + floor, np.cov(real.T) + floor
    root, inverse = _power(has, 0.5), _power(has, -0.5)
    factors, axes = np.linalg.eigh(inverse @ _power(root @ wanted @ root, 0.5) @ inverse)
    return Spread(axes, factors)


def _power(matrix: np.ndarray, power: float) -> np.ndarray:
    """Of a symmetric matrix with positive eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


def spoken_and_real(
    config: Config,
    tensors: Tensors,
    statistics: tuple[np.ndarray, np.ndarray],
    frames: Path,
    tokenizer: SentencePieceProcessor,
    count: int,
) -> tuple[Latents, Latents]:
    """Normalised latents of `count` training sentences as the model speaks them, and as they were
    recorded."""
    mean, std = statistics
    plain = dict(tensors)
    plain |= {"flow_lm.emb_mean": np.zeros_like(mean), "flow_lm.emb_std": np.ones_like(std)}
    streams = open_streams(frames)
    known = [(s, u) for s in streams for u in s.training_utterances(len(s.latents))]
    known = [(s, u) for s, u in known if u.speaker is None]
    if not known:
        raise FileNotFoundError(
            f"No training sentence in {frames} has latents to compare with. Run "
            "python -m training.mel_codec encode."
        )
    chosen = [known[i] for i in np.linspace(0, len(known) - 1, min(count, len(known)), dtype=int)]
    chosen.sort(key=lambda row: row[1].frames)
    real, spoken = [], []
    for at in range(0, len(chosen), BATCH):
        rows = chosen[at : at + BATCH]
        tokens = [spoken_tokens(u, tokenizer)[1].tolist() for _, u in rows]
        longest = 2 * max(u.frames for _, u in rows)
        said = speak_latents(config, plain, tokens, max_frames=longest)
        spoken += [s.latents[: s.frames] for s in said]
        real += [(s.latents[u.first : u.first + u.speech] - mean) / std for s, u in rows]
    return np.concatenate(spoken), np.concatenate(real)


def turned_model(
    tensors: Tensors, statistics: tuple[np.ndarray, np.ndarray], spread: Spread, power: float
) -> dict[str, np.ndarray]:
    """The model with latents along the axes of `spread`, widened by its factors to this power."""
    (mean, std), turn = statistics, spread.axes.T
    flow, decoder = "flow_lm.flow_net.", "mimi.quantizer.output_proj.weight"
    changed = {
        "flow_lm.emb_mean": turn @ (mean / std),
        "flow_lm.emb_std": spread.factors**power,
        "flow_lm.bos_emb": turn @ tensors["flow_lm.bos_emb"],
        decoder: (tensors[decoder][..., 0] * std @ spread.axes)[..., None],
    }
    for name in ("flow_lm.input_linear.weight", f"{flow}input_proj.weight"):
        changed[name] = tensors[name] @ spread.axes
    for name in (f"{flow}final_layer.linear.weight", f"{flow}final_layer.linear.bias"):
        changed[name] = turn @ tensors[name]
    return {n: np.asarray(changed.get(n, tensor), np.float32) for n, tensor in tensors.items()}


def turned_codec(codec: Tensors, spread: Spread) -> dict[str, np.ndarray]:
    """The mel codec with latents along these axes. They are normalised already but for their mean:
    along these axes `std` is one."""
    mean, std, turn = codec["latents.mean"], codec["latents.std"], spread.axes.T
    encoder, decoder = "params/encoder/output/", "params/decoder/input/weight"
    frames = codec[decoder].reshape(len(codec[decoder]), -1, len(std))
    changed = {
        f"{encoder}weight": turn @ (codec[f"{encoder}weight"] / std[:, None]),
        f"{encoder}bias": turn @ (codec[f"{encoder}bias"] / std),
        decoder: (frames * std @ spread.axes).reshape(codec[decoder].shape),
        "latents.mean": turn @ (mean / std),
        "latents.std": np.ones_like(std),
    }
    return {n: np.asarray(changed.get(n, tensor), np.float32) for n, tensor in codec.items()}


def write_turned(folder: Path, tensors: Tensors, out: Path) -> None:
    """A copy of a model's folder with other tensors, stored as precisely. An export and documents
    that lie in it are of the old ones, and left out."""
    left_out = shutil.ignore_patterns(WEIGHTS, SUMS, "*.tflite", "manifest.json", "*.md", ".*")
    shutil.copytree(folder, out, ignore=left_out)
    with safe_open(folder / WEIGHTS, "np") as file:
        half = any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())
    write_model(out / WEIGHTS, tensors, half)
    write_sums(out, sums_of(out))


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of training.export")
    parser.add_argument("--codec", type=Path, required=True, help="the mel codec of its latents")
    parser.add_argument("--frames", type=Path, required=True, help="recordings with latents of it")
    parser.add_argument("--out", type=Path, required=True, help="new model folder")
    parser.add_argument("--codec-out", type=Path, required=True, help="new file for its codec")
    parser.add_argument("--count", type=positive, default=240, help="sentences to measure on")
    parser.add_argument(
        "--power",
        type=float,
        default=1.0,
        help="of the factors: 0 leaves the spread as it is, 1 matches real speech",
    )
    args = parser.parse_args()
    for path in (args.out, args.codec_out):
        if path.exists():
            parser.error(f"{path} exists: give a new name")
    if ModelSettings.read(args.model).has_voice_cloning:
        raise TrainingError(
            f"{args.model} has a trained encoder, which does not know turned latents. Leave it as "
            "it is."
        )
    config, tensors = load_tensors(args)
    tokenizer, codec = open_tokenizer(args.model / "tokenizer.model"), load_file(args.codec)
    if "params/encoder/output/weight" not in codec:
        raise TrainingError(
            f"{args.codec} is no mel codec. Give what training.mel_codec train wrote."
        )
    statistics = read_statistics(args.codec)
    spread = lacking_spread(
        *spoken_and_real(config, tensors, statistics, args.frames, tokenizer, args.count)
    )
    low, high = spread.factors.min(), spread.factors.max()
    print(f"real latents spread {low:.2f} to {high:.2f} times as far as spoken ones")
    write_turned(args.model, turned_model(tensors, statistics, spread, args.power), args.out)
    save_file(turned_codec(codec, spread), args.codec_out)
    print(f"wrote {args.out} and {args.codec_out}")


if __name__ == "__main__":
    run_command(main)
