"""Low-rank adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685) on FlowLM's matrices."""

import zlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Array

DOWN, UP = "|down", "|up"
# What adapts: the attention and feed-forward matrices of the transformer.
ADAPTED = ("in_proj.weight", "out_proj.weight", "linear1.weight", "linear2.weight")


def new_adapters(
    tensors: Mapping[str, np.ndarray], rank: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """For each adapted [out, in] matrix: down [rank, in], random, and up [out, rank], zero, so
    that the merged model starts as the base model."""
    adapters = {}
    for name, tensor in tensors.items():
        if not name.endswith(ADAPTED):
            continue
        outputs, inputs = tensor.shape
        draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
        adapters[name + DOWN] = draw.standard_normal((rank, inputs), np.float32) / inputs**0.5
        adapters[name + UP] = np.zeros((outputs, rank), np.float32)
    return adapters


def merge_adapters(
    tensors: Mapping[str, Array | np.ndarray], adapters: Mapping[str, Array | np.ndarray]
) -> dict[str, Array | np.ndarray]:
    """The base tensors with up · down added to each adapted matrix."""
    merged = dict(tensors)
    for name in tensors:
        if name + UP in adapters:
            merged[name] = tensors[name] + adapters[name + UP] @ adapters[name + DOWN]
    return merged
