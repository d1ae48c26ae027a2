"""Each building block of the reference at a tiny size, with its weights, inputs and outputs.

    python -m tests.golden.make_ladder      # with an interpreter that has pocket-tts 4.0.1

Writes `ladder.npz` next to this file. Arrays are named BLOCK/weights/NAME, BLOCK/in and BLOCK/out;
a streamed block is called several times, BLOCK/in0, BLOCK/in1, …
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pocket_tts.modules.conv import StreamingConv1d, StreamingConvTranspose1d
from pocket_tts.modules.mlp import FinalLayer, ResBlock, TimestepEmbedder
from pocket_tts.modules.resample import ConvDownsample1d, ConvTrUpsample1d
from pocket_tts.modules.seanet import SEANetDecoder, SEANetEncoder
from pocket_tts.modules.stateful_module import StatefulModule, increment_steps, init_states
from pocket_tts.modules.transformer import ProjectedTransformer, StreamingTransformer
from torch import nn

GOLDEN = Path(__file__).parent / "ladder.npz"
SEANET = {
    "channels": 1,
    "dimension": 6,
    "n_filters": 2,
    "n_residual_layers": 2,
    "ratios": [3, 2],
    "kernel_size": 5,
    "last_kernel_size": 3,
    "residual_kernel_size": 3,
    "dilation_base": 2,
    "pad_mode": "constant",
    "compress": 2,
}


def randomise(module: nn.Module, seed: int) -> None:
    """Every parameter random, biases and norms too: initial values hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        draw = torch.randn(parameter.shape, generator=generator)
        fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
        around = 1.0 if parameter.ndim == 1 and not name.endswith("bias") else 0.0
        parameter.data = around + (0.3 if parameter.ndim == 1 else fan_in**-0.5) * draw


def stream(module: nn.Module, sizes: list[int], channels: int, last: bool = False) -> dict:
    """Call a streaming module with inputs of `sizes` steps; `last` puts channels last."""
    module = nn.ModuleList([module])
    for name, part in module.named_modules():
        if isinstance(part, StatefulModule):
            part._module_absolute_name = name
    state = init_states(module, 2, sum(sizes))
    generator = torch.Generator().manual_seed(len(sizes))
    arrays = {}
    for i, size in enumerate(sizes):
        x = torch.randn(2, size, channels, generator=generator)
        y = module[0](x if last else x.transpose(1, 2), state)
        y = y[0] if isinstance(y, list) else y
        increment_steps(module, state, increment=size)
        arrays |= {f"in{i}": x, f"out{i}": y if last else y.transpose(1, 2)}
    return arrays


def called(*inputs: torch.Tensor) -> Callable[[nn.Module], dict]:
    def call(module: nn.Module) -> dict:
        named = {f"in{i}": x for i, x in enumerate(inputs)}
        return named | {"out": module(*inputs)}

    return call


def blocks() -> dict[str, tuple[nn.Module, Callable[[nn.Module], dict]]]:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(3, 8, generator=draw), torch.randn(3, 8, generator=draw)
    grouped = StreamingTransformer(12, 4, 2, dim_feedforward=20, attn_dim=16, num_kv_heads=2)
    window = ProjectedTransformer(6, (10,), 8, 2, 2, 0.3, 7, 10000.0, 12)
    return {
        "conv": (StreamingConv1d(3, 4, 5, dilation=2), lambda m: stream(m, [9, 1, 4], 3)),
        "strided": (StreamingConv1d(3, 4, 6, stride=3), lambda m: stream(m, [9, 3, 6], 3)),
        "convtr": (StreamingConvTranspose1d(4, 3, 6, 3), lambda m: stream(m, [3, 1, 2], 4)),
        "downsample": (ConvDownsample1d(4, 3, 5), lambda m: stream(m, [8, 4, 4], 3)),
        "upsample": (ConvTrUpsample1d(4, 3), lambda m: stream(m, [2, 1, 3], 3)),
        "decoder": (SEANetDecoder(**SEANET), lambda m: stream(m, [4, 1, 2], 6)),
        "encoder": (SEANetEncoder(**SEANET), lambda m: stream(m, [24, 6, 12], 1)),
        "grouped": (grouped, lambda m: stream(m, [5, 1, 1], 12, last=True)),
        "window": (window, lambda m: stream(m, [5, 1, 9, 3], 6)),
        "time": (TimestepEmbedder(8), called(torch.tensor([[0.0], [0.3], [1.0]]))),
        "adaln": (ResBlock(8), called(x, y)),
        "final": (FinalLayer(8, 5), called(x, y)),
    }


@torch.no_grad()
def main() -> None:
    arrays = {}
    for seed, (name, (module, run)) in enumerate(blocks().items()):
        randomise(module, seed)
        arrays |= {f"{name}/weights/{key}": v.numpy() for key, v in module.state_dict().items()}
        arrays |= {f"{name}/{key}": value.numpy() for key, value in run(module).items()}
    np.savez_compressed(GOLDEN, **arrays)
    print(f"{GOLDEN.name}: {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
