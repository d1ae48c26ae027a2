"""The reference itself speaks from our voice files, and we from its."""

import numpy as np
import pytest

from pocket_tts_jax.config import load_config, packaged_config
from pocket_tts_jax.voice.state import VoiceState, read_voice, voice_shape, write_voice
from tests.folders import SHARED


@pytest.fixture(scope="module")
def reference_model():
    """The reference's smallest model with random weights."""
    pytest.importorskip("pocket_tts")
    import torch
    from pocket_tts.models import tts_model
    from pocket_tts.models.mimi import build_mimi
    from pocket_tts.utils import config as reference_config

    tokenizer = SHARED / "data/english_tokenizer.json"
    if not tokenizer.exists():
        pytest.skip("needs a tokenizer from ../shared/data")
    config = reference_config.load_config(packaged_config("english_2m_2026-10"))
    config.flow_lm.lookup_table.tokenizer = "tokenizers"
    config.flow_lm.lookup_table.tokenizer_path = str(tokenizer)
    torch.manual_seed(0)
    model = tts_model.TTSModel._from_pydantic_config(config, 0.3, 1, None, -1.0, None)
    width = (config.flow_lm.transformer.d_model, 32)
    model.flow_lm.speaker_proj_weight = torch.nn.Parameter(torch.randn(width))
    model.mimi = build_mimi(config.mimi).eval()
    tts_model.stamp_state_names(model)
    model.max_decoder_frames_per_call = 1  # else its threads decide how sums are grouped
    return model


def reference_audio(model, state) -> np.ndarray:
    import torch

    torch.manual_seed(1)
    return model.generate_audio(state, "Yes.", frames_after_eos=1).numpy()


@pytest.mark.reference
def test_the_reference_speaks_from_our_files(reference_model, tmp_path):
    import torch
    from pocket_tts import export_model_state

    prompt = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 24000)) * 0.1).float()
    state = reference_model.get_state_for_audio_prompt(prompt)
    export_model_state(state, tmp_path / "theirs.safetensors")
    config = load_config(packaged_config("english_2m_2026-10"))
    ours = read_voice(tmp_path / "theirs.safetensors", config)
    assert isinstance(ours, VoiceState) and ours.shape == voice_shape(config)

    latents = np.random.default_rng(1).standard_normal((13, 32)).astype(np.float32)
    metadata = {"model": "english_2m_2026-10", "seconds": "1.04"}
    write_voice(tmp_path / "ours.safetensors", VoiceState(ours.k, ours.v, latents, metadata))
    again = reference_model.get_state_for_audio_prompt(tmp_path / "ours.safetensors")
    for module, tensors in state.items():
        for name, tensor in tensors.items():
            assert torch.equal(again[module][name], tensor)
    assert np.array_equal(
        reference_audio(reference_model, again), reference_audio(reference_model, state)
    )
