"""The two files of the training stack: other names, weight-norm pairs, tensors to skip."""

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.testing.random_checkpoint import Tensors, random_tensors
from pocket_tts_jax.weights.checkpoint import load_split_checkpoint, replace_mimi
from pocket_tts_jax.weights.expected import parameter_shapes


@pytest.fixture
def pair(tmp_path: Path, lsd_tensors: Tensors) -> tuple[Path, Path]:
    flow_lm, mimi = tmp_path / "flow_lm.safetensors", tmp_path / "mimi.safetensors"
    save_file(split_flow_lm(lsd_tensors), flow_lm)
    save_file(split_mimi(lsd_tensors), mimi)
    return flow_lm, mimi


def test_values(pair: tuple[Path, Path], lsd_config: Config, lsd_tensors: Tensors):
    loaded = load_split_checkpoint(*pair, parameter_shapes(lsd_config))
    assert loaded.keys() == lsd_tensors.keys()
    for name, tensor in loaded.items():
        np.testing.assert_allclose(tensor, lsd_tensors[name], rtol=2e-6, atol=1e-7, err_msg=name)


@pytest.mark.reference
def test_the_reference_reads_the_same(pair: tuple[Path, Path], lsd_config: Config):
    loading = pytest.importorskip("pocket_tts.utils.weights_loading")
    theirs = {
        f"flow_lm.{name}": t.numpy() for name, t in loading.get_flow_lm_state_dict(pair[0]).items()
    } | {f"mimi.{name}": t.numpy() for name, t in loading.get_mimi_state_dict(pair[1]).items()}
    ours = load_split_checkpoint(*pair, parameter_shapes(lsd_config))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_allclose(tensor, theirs[name], rtol=1e-6, atol=1e-8, err_msg=name)


def test_what_is_missing_is_named(pair: tuple[Path, Path], lsd_config: Config):
    reduced = split_flow_lm(random_tensors(lsd_config))
    del reduced["fuser.padding_value"]
    save_file(reduced, pair[0])
    with pytest.raises(CheckpointError, match=r"1 missing: flow_lm\.bos_before_voice"):
        load_split_checkpoint(*pair, parameter_shapes(lsd_config))


@pytest.mark.parametrize("published", [True, False])
def test_another_mimi(tmp_path: Path, lsd_config: Config, lsd_tensors: Tensors, published: bool):
    other = random_tensors(lsd_config, seed=5)
    path = tmp_path / "other.safetensors"
    save_file(other if published else split_mimi(other), path)
    replaced = replace_mimi(lsd_tensors, path, parameter_shapes(lsd_config))
    name = "mimi.encoder.model.0.conv.weight"
    np.testing.assert_allclose(replaced[name], other[name], rtol=2e-6)
    assert replaced["flow_lm.bos_emb"] is lsd_tensors["flow_lm.bos_emb"]


def split_flow_lm(tensors: Tensors) -> Tensors:
    names = {
        "conditioner.embed.weight": (
            "condition_provider.conditioners.transcript_in_segment.embed.weight"
        ),
        "speaker_proj_weight": "condition_provider.conditioners.speaker_wavs.output_proj.weight",
        "bos_before_voice": "fuser.padding_value",
    }
    split = {
        "flow.w_s_t.0.weight": np.ones((2, 2), np.float32),
        "num_ema_updates": np.zeros(1, np.int64),
        "condition_provider.conditioners.speaker_wavs.learnt_padding": np.ones(3, np.float32),
        "condition_provider.conditioners.transcript_in_segment.learnt_padding": np.ones(
            3, np.float32
        ),
    }
    for name, tensor in tensors.items():
        if name.startswith("flow_lm."):
            name = name.removeprefix("flow_lm.")
            name = names.get(name, name).replace("in_proj.weight", "in_proj_weight")
            split[name] = tensor
    return split


def split_mimi(tensors: Tensors) -> Tensors:
    """Mimi as its training names it: a wrapper more, every second convolution weight-normed."""
    split = {
        "model.quantizer.vq.layers.0._codebook.embedding_sum": np.ones((2, 2), np.float32),
        "quantizer.logvar_proj.weight": np.ones((2, 2), np.float32),
        "model.quantizer.logvar_proj.weight": np.ones((2, 2), np.float32),
        "quantizer.logvar_param": np.ones(1, np.float32),
        "wavlm_input_resample.kernel": np.ones(3, np.float32),
        "wavlm_emb_downsample.conv.conv.weight": np.ones((2, 2), np.float32),
        "wavlm_proj.weight": np.ones((2, 2), np.float32),
    }
    for name, tensor in tensors.items():
        if not name.startswith("mimi."):
            continue
        name = name.removeprefix("mimi.")
        seanet = name.startswith(("encoder.model", "decoder.model"))
        if name.startswith(("encoder.", "decoder.")):
            name = "model." * (".block." not in name) + name
        name = re.sub(r"\.(conv|convtr)\.(weight|bias)$", r".\1.\1.\2", name)
        name = name.replace("in_proj.weight", "in_proj_weight")
        if seanet and name.endswith(".weight") and ".block." in name:
            axes = tuple(range(1, tensor.ndim))
            split[f"{name}_g"] = np.sqrt(np.sum(np.square(tensor), axes, keepdims=True))
            split[f"{name}_v"] = 3 * tensor
        else:
            split[name] = tensor
    return split
