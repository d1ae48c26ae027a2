"""pocket-tts 4.0.1 with given tensors, fed given noise: what the tests compare with.

Needs `pip install pocket-tts==4.0.1`. Latents, states and audio are NumPy arrays outside.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from jaxtyping import Float, Int
from pocket_tts.models.mimi import build_mimi
from pocket_tts.models.tts_model import CONFIGS_DIR, TTSModel, stamp_state_names
from pocket_tts.modules import text_conditioner
from pocket_tts.modules.stateful_module import increment_steps, init_states
from pocket_tts.utils.config import load_config

DECODED_AT_ONCE = 25  # frames; less attention to hold than for the whole
State = dict[str, dict[str, torch.Tensor]]


class Run(NamedTuple):
    """`steps` frames of `rows` equal prompts, of which all but the first have a disturbed cache."""

    latents: Float[np.ndarray, "rows steps z"]
    eos_logits: Float[np.ndarray, "rows steps"]


class Reference:
    """One model. The tensors are shared with the caller, not copied."""

    def __init__(self, name: str, tensors: dict[str, np.ndarray]):
        config = load_config(CONFIGS_DIR / f"{name}.yaml")
        no_tokenizer = mock.patch.object(text_conditioner, "build_tokenizer", lambda *_: None)
        with no_tokenizer, torch.device("meta"):
            model = TTSModel._from_pydantic_config(
                config, 0.3, 1, None, config.default_eos_threshold, None
            )
            shape = tensors["flow_lm.speaker_proj_weight"].shape
            model.flow_lm.speaker_proj_weight = torch.nn.Parameter(torch.empty(shape))
            model.mimi = build_mimi(config.mimi)
        weights = {name: torch.from_numpy(np.asarray(t)) for name, t in tensors.items()}
        model.load_state_dict(weights, strict=True, assign=True)
        stamp_state_names(model)
        self.model = model.eval()
        self.threshold = config.default_eos_threshold

    @torch.no_grad()
    def encode(self, audio: Float[np.ndarray, " n"]) -> Float[np.ndarray, "frames encoded"]:
        return self.model.mimi.encode_to_latent(torch.from_numpy(audio)[None, None])[0].numpy()

    @torch.no_grad()
    def voice_of(self, recording: Path) -> list[Float[np.ndarray, "2 t kv_heads head_dim"]]:
        """The cache of each layer after the prompt, as `export-voice` would store it."""
        state = self.model.get_state_for_audio_prompt(recording)
        return [layer["cache"][:, 0].numpy() for layer in state.values() if "cache" in layer]

    @torch.no_grad()
    def run(
        self,
        audio: Float[np.ndarray, " n"],
        tokens: Int[np.ndarray, " t"],
        noise: Float[np.ndarray, "steps z"],
        disturbed: float | None = None,
    ) -> Run:
        """Speak `tokens` with the voice of `audio` for as many steps as there is noise, EOS or not.

        `disturbed` adds a second row that is the same but for that much normal noise in the cache
        after the prefix: how far the two part shows whether the loop damps.
        """
        lm = self.model.flow_lm
        rows = 1 if disturbed is None else 2
        voice = torch.nn.functional.linear(
            torch.from_numpy(self.encode(audio))[None], lm.speaker_proj_weight
        )
        if lm.insert_bos_before_voice:
            voice = torch.cat([lm.bos_before_voice, voice], dim=1)
        text = lm.conditioner(torch.from_numpy(tokens)[None])
        state = init_states(lm, rows, voice.shape[1] + len(tokens) + len(noise))
        nothing = torch.zeros(rows, 0, lm.ldim)
        with _noise(noise[0]):
            for prefix in (voice, text):
                self._forward(nothing, prefix.expand(rows, -1, -1), state)
        if disturbed is not None:
            _disturb(state, disturbed)
        latents, logits = [], []
        recorder = lm.out_eos.register_forward_hook(lambda *call: logits.append(call[2][:, 0]))
        latent = torch.full((rows, 1, lm.ldim), float("nan"))
        for now in noise:
            with _noise(now):
                latent = self._forward(latent, torch.zeros(rows, 0, lm.dim), state)[:, None]
            latents.append(latent[:, 0])
        recorder.remove()
        return Run(torch.stack(latents, 1).numpy(), torch.stack(logits, 1).numpy())

    def _forward(self, latents: torch.Tensor, prefix: torch.Tensor, state: State) -> torch.Tensor:
        lm = self.model.flow_lm
        output, _ = lm(latents, prefix, state, 1, 0.3, None, self.threshold)
        increment_steps(lm, state, latents.shape[1] + prefix.shape[1])
        return output

    @torch.no_grad()
    def decode(self, latents: Float[np.ndarray, "steps z"]) -> Float[np.ndarray, " samples"]:
        """FlowLM's latents to samples, streamed."""
        lm, mimi = self.model.flow_lm, self.model.mimi
        stride = int(mimi.encoder_frame_rate / mimi.frame_rate)
        state = init_states(mimi, 1, len(latents) * stride)
        raw = (torch.from_numpy(latents) * lm.emb_std + lm.emb_mean)[None]
        pieces = []
        for piece in raw.split(DECODED_AT_ONCE, dim=1):
            pieces.append(mimi.decode_from_latent(piece, state)[0, 0])
            increment_steps(mimi, state, increment=piece.shape[1] * stride)
        return torch.cat(pieces).numpy()


def _disturb(state: State, amount: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for layer in state.values():
        used = int(layer["offset"][0])
        rows = layer["cache"][:, 1, :used]
        rows += amount * torch.randn(rows.shape, generator=generator)


@contextmanager
def _noise(values: Float[np.ndarray, " z"]) -> Iterator[None]:
    """The sampler draws `values` instead of its own noise."""

    def fill(tensor: torch.Tensor, **_: Any) -> torch.Tensor:
        return tensor.copy_(torch.from_numpy(values).expand_as(tensor))

    with mock.patch.object(torch.nn.init, "normal_", fill):
        yield
