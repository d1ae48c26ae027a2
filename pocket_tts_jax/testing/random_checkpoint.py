"""Random checkpoints in the published format, for tests that need every config and no download.

The scale of each tensor keeps activations of order one and makes the autoregressive loop damp
perturbations, while its latents still depend on the transformer (another hidden state moves a
latent by about a third of its standard deviation). With weights drawn at 1/√fan-in the loop is
chaotic, and a comparison over 200 steps would compare rounding noise. `end_at` sets where speech
ends.

Write one with
`python -m pocket_tts_jax.testing.random_checkpoint CONFIG OUT.safetensors [--seed N]`.
"""

import argparse
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors.numpy import save_file

from pocket_tts_jax.config import Config, load_config, packaged_config
from pocket_tts_jax.weights.expected import Shape, parameter_shapes

MIN_FRAMES = 6
"""EOS counts from this frame on."""
EOS_SCALE = 1.5
CLEAR = 0.02
"""Well above the rounding errors of a logit."""
EOS_MARGIN = 2.5
"""How far below the threshold the EOS logit is on average, unless `end_at` decides."""

Tensors = dict[str, np.ndarray]


def random_tensors(config: Config, seed: int = 0) -> Tensors:
    """Every tensor of the checkpoint; each depends on its name and the seed alone."""
    tensors = {n: _tensor(n, shape, seed) for n, shape in parameter_shapes(config).items()}
    bias = config.default_eos_threshold - EOS_MARGIN
    tensors["flow_lm.out_eos.bias"] = np.array([bias], np.float32)
    return tensors


def end_at(
    logits: Float[np.ndarray, " steps"], threshold: float, first: int, last: int
) -> tuple[float, int]:
    """The shift of the EOS bias with which EOS first fires within frames [first, last], and the
    frame where it does.

    Only a new maximum of the logits can be the first to cross a threshold. The last new maximum
    that exceeds all before it by `CLEAR` is taken, with the threshold halfway. Frames before
    `MIN_FRAMES` do not count, as in generation.
    """
    chosen = None
    highest = float(logits[MIN_FRAMES:first].max())
    for frame in range(first, last + 1):
        logit = float(logits[frame])
        if logit - highest > CLEAR:
            chosen = threshold - (logit + highest) / 2, frame
        highest = max(highest, logit)
    if chosen is None:
        raise ValueError(f"the EOS logit has no new maximum from frame {first} to {last}")
    return chosen


def _tensor(name: str, shape: Shape, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    draw = rng.standard_normal(shape, np.float32)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "freqs":
        half = shape[0]
        return np.exp(-math.log(10000.0) * np.arange(half) / half).astype(np.float32)
    if leaf == "emb_std":
        return 0.8 + 0.2 * np.abs(draw)
    if leaf == "emb_mean":
        return 0.1 * draw
    if leaf == "scale":  # the published models end far above the initial 0.01
        return (0.3 + 0.05 * draw).astype(np.float32)
    if leaf == "alpha" or (leaf == "weight" and len(shape) == 1):
        return (1 + 0.1 * draw).astype(np.float32)
    if leaf == "bias":
        return 0.05 * draw
    if len(shape) == 1 or leaf in ("bos_before_voice", "embed"):
        return draw
    return (draw * _gain(name) / math.sqrt(_fan_in(name, shape))).astype(np.float32)


def _fan_in(name: str, shape: Shape) -> int:
    if name.endswith("conditioner.embed.weight"):
        return 1
    if name.endswith("upsample.convtr.convtr.weight"):
        return 2  # two inputs overlap at each output
    if "convtr" in name:
        return 2 * shape[0]
    return math.prod(shape[1:])


def _gain(name: str) -> float:
    """Below 1 for the tensors through which a step reads earlier latents: they need damping."""
    if name == "flow_lm.out_eos.weight":
        return EOS_SCALE
    if name.startswith("flow_lm.flow_net") and ("adaLN" in name or "cond_embed" in name):
        return 0.7
    if name == "flow_lm.flow_net.final_layer.linear.weight":
        return 0.4
    if name.startswith("flow_lm.transformer") and name.endswith(
        ("out_proj.weight", "linear2.weight")
    ):
        return 0.5
    if name == "flow_lm.input_linear.weight":
        return 0.3
    if name.startswith("mimi.") and ".block.3." in name:
        return 0.5
    return 1.0


def write_checkpoint(config_name: str, path: str | Path, seed: int = 0) -> Path:
    """Write the random checkpoint of a packaged configuration."""
    save_file(random_tensors(load_config(packaged_config(config_name)), seed), path)
    return Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="name of a packaged configuration")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_checkpoint(arguments.config, arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
