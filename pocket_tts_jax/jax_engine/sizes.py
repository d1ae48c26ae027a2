"""Sizes of the JAX engine's prefill calls and caches, from short lists."""

import math
from collections.abc import Sequence
from typing import Any

from pocket_tts_jax.text.prepare import max_frames
from pocket_tts_jax.voice.recording import LONGEST_SECONDS

PREFIX_LENGTHS = (16, 32, 64, 128)  # tokens, or frames of a voice, per prefill call
CAPACITY_STEP = 256  # positions; a cache grows by this much when it is full


def bucket(length: int, sizes: Sequence[int]) -> int:
    """The smallest size that is at least `length`; beyond the largest, multiples of it."""
    for size in sizes:
        if length <= size:
            return size
    return -(-length // sizes[-1]) * sizes[-1]


def split_prefix(inputs: Any) -> list[tuple[Any, int]]:
    """(inputs, padded length) of the prefill calls that read `inputs`, tokens or embeddings."""
    largest = PREFIX_LENGTHS[-1]
    pieces = [inputs[i : i + largest] for i in range(0, len(inputs), largest)]
    return [(piece, bucket(len(piece), PREFIX_LENGTHS)) for piece in pieces]


def capacity_for(positions: int) -> int:
    return -(-positions // CAPACITY_STEP) * CAPACITY_STEP


def chunk_positions(max_tokens: int, frame_rate: float) -> tuple[int, int]:
    """Positions in use with the longest voice and a chunk of `max_tokens`: after its padded text,
    and at its last frame."""
    voice = math.ceil(LONGEST_SECONDS * frame_rate) + 2  # a start position, the pause at the end
    padded = sum(length for _, length in split_prefix(range(max_tokens)))
    return voice + padded, voice + max_tokens + max_frames(max_tokens, frame_rate)
