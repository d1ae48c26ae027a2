"""Mimi of an export: its decoder as a stream, its encoder for whole recordings."""

import re
import weakref

import numpy as np

from pocket_tts_jax.config import Config
from pocket_tts_jax.litert_engine.runtime import Call, LiteRTModel
from pocket_tts_jax.shapes import Float

_FRAMES = re.compile(r"(?:decode|encode)_(\d+)")
# One call of eight frames takes as long as two of four, and 8 MB more.
AT_ONCE = 4


class DecoderBuffers:
    """Two sets of the decoder's state, and its calls: a call reads one set and writes the other."""

    def __init__(self, model: LiteRTModel) -> None:
        self._model = model
        self.sizes = frame_sizes(model)
        self._states = (model.states(), model.states())
        self._calls: dict[tuple[int, int], Call] = {}

    def clear(self) -> None:
        """Zeros, from which speech begins, where the first call reads."""
        for array in self._states[0].values():
            array[...] = 0

    def call(self, frames: int, turn: int) -> Call:
        """The call that decodes so many frames from set `turn`."""
        if (frames, turn) not in self._calls:
            before, after = self._states[turn], self._states[1 - turn]
            self._calls[frames, turn] = self._model.bind(self.sizes[frames], before, after)
        return self._calls[frames, turn]


class LiteRTDecoder:
    """Mimi's decoder within one chunk (`generation.engine.Decoder`).

    `free` has the buffers of earlier chunks. The decoder takes some of these, or makes new ones,
    and gives them back when it is no longer used.
    """

    def __init__(self, model: LiteRTModel, config: Config, free: list[DecoderBuffers]) -> None:
        self._steps_per_frame = config.mimi.steps_per_frame
        try:
            self._buffers = free.pop()
        except IndexError:
            self._buffers = DecoderBuffers(model)
        self._position, self._turn = 0, 0
        weakref.finalize(self, _give_back, self._buffers, free)

    def decode(self, latents: Float[np.ndarray, "n z"]) -> Float[np.ndarray, " samples"]:
        pieces, begin = [], 0
        while begin < len(latents):
            left = len(latents) - begin
            size = max(n for n in self._buffers.sizes if n <= left)
            pieces.append(self._decode(latents[begin : begin + size]))
            begin += size
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _decode(self, latents: Float[np.ndarray, "n z"]) -> Float[np.ndarray, " samples"]:
        call = self._buffers.call(len(latents), self._turn)
        call.inputs["latents"][0] = latents
        call.inputs["position"][0] = self._position
        call()
        self._turn = 1 - self._turn
        self._position += len(latents) * self._steps_per_frame
        return call.outputs["audio"][0].copy()


def _give_back(buffers: DecoderBuffers, free: list[DecoderBuffers]) -> None:
    buffers.clear()  # now: the next chunk is in a hurry
    free.append(buffers)


def encode(
    model: LiteRTModel, config: Config, audio: Float[np.ndarray, " samples"]
) -> Float[np.ndarray, "frames encoded"]:
    """Latents of a recording at the model's rate; an incomplete last frame is padded with zeros."""
    ((size, name),) = frame_sizes(model).items()
    call, block = model.bind(name), size * config.mimi.frame_size
    states = [name for name in call.inputs if name in call.outputs]
    latents = []
    for start in range(0, audio.size, block):
        piece = audio[start : start + block]
        call.inputs["audio"][:] = 0
        call.inputs["audio"][0, : piece.size] = piece
        call.inputs["position"][0] = start // config.mimi.seanet.hop_length
        call()
        latents.append(call.outputs["latents"][0].copy())
        for state in states:
            call.inputs[state][...] = call.outputs[state]
    return np.concatenate(latents)[: -(-audio.size // config.mimi.frame_size)]


def is_used(signature: str) -> bool:
    """Whether this engine calls the decoder's signature of this name. Apps may call all."""
    match = re.fullmatch(r"decode_(\d+)", signature)
    return match is None or int(match[1]) <= AT_ONCE


def frame_sizes(model: LiteRTModel) -> dict[int, str]:
    """{frames: name} of the signatures of one side of Mimi."""
    matches = ((_FRAMES.fullmatch(name), name) for name in model.signatures)
    return {int(match[1]): name for match, name in matches if match}
