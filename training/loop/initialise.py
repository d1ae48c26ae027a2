"""First values of every tensor of a model, in the checkpoint's names."""

import math
import zlib
from collections.abc import Sequence

import numpy as np

from pocket_tts_jax.config import Config
from pocket_tts_jax.weights.expected import Shape, parameter_shapes

# How the names of Mimi's tensors begin, without "mimi.".
DECODER = ("decoder.", "decoder_transformer.", "upsample.", "quantizer.")
ENCODER = ("encoder.", "encoder_transformer.", "downsample.")
# Names of the discriminator's tensors start so; they are trained along and never exported.
DISCRIMINATOR = "discriminator/"
# So do those of the vectors that lead each speaker; they are exported as voices.
VOICES = "voices."
# Depth-scaled residual outputs and nearly-zero modulations start every block near the identity.
RESIDUAL_GAIN = 0.5
MODULATION_GAIN = 0.1
LAYER_SCALE = 0.1
VOICE_SPREAD = 0.2


def initial_tensors(config: Config, seed: int = 0) -> dict[str, np.ndarray]:
    """Every tensor of the published file; each depends only on its name, shape and the seed."""
    return {name: _tensor(name, shape, seed) for name, shape in parameter_shapes(config).items()}


def initial_voices(
    start: np.ndarray, speakers: Sequence[str], seed: int = 0
) -> dict[str, np.ndarray]:
    """For each speaker a vector near `start`, the start token: a model of one voice speaks from the
    first step on, and then learns how they differ."""
    names = [VOICES + speaker for speaker in speakers]
    return {n: start.ravel() + VOICE_SPREAD * _tensor(n, start.ravel().shape, seed) for n in names}


def _tensor(name: str, shape: Shape, seed: int) -> np.ndarray:
    draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
    normal = draw.standard_normal(shape, np.float32)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "freqs":
        return np.exp(-math.log(10000.0) * np.arange(shape[0]) / shape[0]).astype(np.float32)
    if leaf in ("emb_std", "alpha") or (leaf == "weight" and len(shape) == 1):
        return np.ones(shape, np.float32)
    if leaf in ("emb_mean", "bias"):
        return np.zeros(shape, np.float32)
    if leaf == "scale":
        return np.full(shape, LAYER_SCALE, np.float32)
    if name.endswith("upsample.convtr.convtr.weight"):
        return _hold(shape) + 0.02 * normal
    if leaf in ("bos_emb", "bos_before_voice") or name.endswith("embed.weight"):
        return 0.5 * normal
    return (_gain(name) * normal / math.sqrt(_fan_in(name, shape))).astype(np.float32)


def _hold(shape: Shape) -> np.ndarray:
    """An upsampler that repeats each frame: the first half of the kernel is the frame itself."""
    kernel = np.zeros(shape, np.float32)
    kernel[..., : shape[-1] // 2] = 1
    return kernel


def _fan_in(name: str, shape: Shape) -> int:
    if "convtr" in name:
        return 2 * shape[0]  # two inputs overlap at each output
    return math.prod(shape[1:])


def _gain(name: str) -> float:
    if "adaLN_modulation" in name or name.endswith("final_layer.linear.weight"):
        return MODULATION_GAIN
    if name.startswith("flow_lm.") and name.endswith(("out_proj.weight", "linear2.weight")):
        return RESIDUAL_GAIN
    if ".block.3." in name:
        return RESIDUAL_GAIN
    return 1.0
