"""Weight files: read as written, mapped and not copied, and refused with one clear error."""

import json
import struct
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from pocket_tts_jax.config import Config, available_configs, load_config, packaged_config
from pocket_tts_jax.errors import CheckpointError
from pocket_tts_jax.model.flow_lm import FlowLM
from pocket_tts_jax.model.mimi import Mimi, init_decoder_state, init_encoder_state
from pocket_tts_jax.testing.random_checkpoint import Tensors
from pocket_tts_jax.testing.tiny_model import tiny_config
from pocket_tts_jax.weights.checkpoint import (
    load_checkpoint,
    map_safetensors,
    parameter_tree,
)
from pocket_tts_jax.weights.expected import parameter_shapes

Names = dict[str, tuple[int, ...]]


@pytest.fixture
def file(tmp_path: Path, lsd_tensors: Tensors) -> Path:
    path = tmp_path / "model.safetensors"
    save_file(lsd_tensors, path)
    return path


def architectures() -> list[str]:
    """One published name for each set of tensors."""
    seen: dict[tuple, str] = {}
    for name in available_configs():
        shapes = parameter_shapes(load_config(packaged_config(name)))
        seen.setdefault(tuple(sorted(shapes.items())), name)
    return list(seen.values())


def module_shapes(config: Config) -> Names:
    """{name: shape} of what the Flax modules would create, joined from their paths."""
    lm, mimi, c = FlowLM.of(config), Mimi(config.mimi), config.mimi
    key = jax.eval_shape(lambda: jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    encoded = jax.ShapeDtypeStruct((1, 2, c.encoded_dim), jnp.float32)
    audio = jax.ShapeDtypeStruct((1, c.frame_size), jnp.float32)
    latents = jax.ShapeDtypeStruct((1, 1, config.latent_dim), jnp.float32)
    states = (init_encoder_state(c, 1), init_decoder_state(c, 1))
    trees = {
        "flow_lm": jax.eval_shape(lm.init, key, tokens, encoded),
        "mimi": jax.eval_shape(mimi.init, key, states[0], audio, states[1], latents),
    }
    named = {}
    for prefix, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree["params"]):
            named[".".join([prefix, *(part.key for part in path)])] = leaf.shape
    return named


def tree_shapes(tree: Any, path: tuple[str, ...] = ()) -> Names:
    if not isinstance(tree, dict):
        return {".".join(path): tree.shape}
    named: Names = {}
    for name, branch in tree.items():
        named |= tree_shapes(branch, (*path, name))
    return named


@pytest.mark.parametrize("name", architectures())
def test_shapes_are_those_of_the_modules(name: str):
    config = load_config(packaged_config(name))
    assert module_shapes(config) == parameter_shapes(config)


@pytest.mark.parametrize("flow", ["lsd", "flow_matching", "drifting", "pointwise"])
def test_shapes_of_each_flow(flow: str):
    config = tiny_config(flow)
    assert module_shapes(config) == parameter_shapes(config)


def test_tree(lsd_config: Config, lsd_tensors: Tensors):
    tree = parameter_tree(lsd_tensors)
    assert tree_shapes(tree) == parameter_shapes(lsd_config)  # joined by dots: the names again
    attention = tree["flow_lm"]["transformer"]["layers.1"]["self_attn"]["in_proj"]["weight"]
    assert attention is lsd_tensors["flow_lm.transformer.layers.1.self_attn.in_proj.weight"]
    assert "conv.weight" in tree["mimi"]["decoder"]["model.0"]
    assert "convtr.weight" in tree["mimi"]["upsample.convtr"]
    assert "embed.weight" in tree["flow_lm"]["conditioner"]


def test_values_are_views_of_the_file(file: Path, lsd_config: Config, lsd_tensors: Tensors):
    loaded = load_checkpoint(file, parameter_shapes(lsd_config))
    assert list(loaded) == list(parameter_shapes(lsd_config))
    for name, tensor in loaded.items():
        np.testing.assert_array_equal(tensor, lsd_tensors[name])
        base = tensor
        while not isinstance(base, np.memmap):
            assert base.base is not None, f"{name} is a copy"
            base = base.base
        assert not tensor.flags.writeable


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_narrow_types_are_widened(
    tmp_path: Path, lsd_config: Config, lsd_tensors: Tensors, kind: str
):
    path = tmp_path / "narrow.safetensors"
    narrow = {name: _narrowed(t, kind) for name, t in lsd_tensors.items()}
    _write(path, {name: (kind, t) for name, t in narrow.items()})
    loaded = load_checkpoint(path, parameter_shapes(lsd_config))
    for name, tensor in loaded.items():
        assert tensor.dtype == np.float32
        relative = 2**-11 if kind == "F16" else 2**-7
        np.testing.assert_allclose(tensor, lsd_tensors[name], rtol=relative, atol=1e-7)


def _narrowed(tensor: np.ndarray, kind: str) -> np.ndarray:
    if kind == "F16":
        return tensor.astype(np.float16)
    return (np.ascontiguousarray(tensor).view(np.uint32) >> 16).astype(np.uint16)  # towards zero


def _write(path: Path, tensors: dict[str, tuple[str, np.ndarray]]) -> None:
    header, data = {}, b""
    for name, (kind, tensor) in tensors.items():
        place = [len(data), len(data) + tensor.nbytes]
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": place}
        data += tensor.tobytes()
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


@pytest.mark.parametrize("kept", [0, 5, 8, 200, -4096, -1])
def test_truncated(file: Path, lsd_config: Config, kept: int):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"is damaged.*Delete it and download"):
        load_checkpoint(file, parameter_shapes(lsd_config))


def test_longer_than_its_header_says(file: Path, lsd_config: Config):
    file.write_bytes(file.read_bytes() + b"\0" * 16)
    with pytest.raises(CheckpointError, match="bytes of tensors were promised"):
        load_checkpoint(file, parameter_shapes(lsd_config))


def test_flipped_bits_of_the_header(file: Path, lsd_config: Config, lsd_tensors: Tensors):
    """Every flip is refused, or leaves all that matters as it was."""
    whole = file.read_bytes()
    header_size = struct.unpack("<Q", whole[:8])[0]
    bits = np.random.default_rng(0).integers(0, (8 + header_size) * 8, 150)
    refused = 0
    for bit in [*range(64), *map(int, bits)]:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            loaded = load_checkpoint(file, parameter_shapes(lsd_config))
        except CheckpointError:
            refused += 1
        else:
            assert loaded.keys() == lsd_tensors.keys(), bit
    assert refused > 100


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(
    tmp_path: Path, lsd_config: Config, lsd_tensors: Tensors, value: float
):
    name = "mimi.decoder.model.0.conv.weight"
    broken = lsd_tensors[name].copy()
    broken.reshape(-1)[3] = value
    path = tmp_path / "broken.safetensors"
    save_file(lsd_tensors | {name: broken}, path)
    with pytest.raises(CheckpointError, match=f"not finite, in {name}: the file is damaged"):
        load_checkpoint(path, parameter_shapes(lsd_config))


def test_everything_wrong_in_one_message(tmp_path: Path, lsd_config: Config, lsd_tensors: Tensors):
    changed = dict(lsd_tensors)
    del changed["flow_lm.bos_emb"]
    changed["flow_lm.extra"] = np.zeros(3, np.float32)
    changed["flow_lm.emb_mean"] = np.zeros(31, np.float32)
    path = tmp_path / "wrong.safetensors"
    save_file(changed, path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, parameter_shapes(lsd_config))
    message = str(error.value)
    assert "1 missing: flow_lm.bos_emb" in message
    assert "1 unexpected: flow_lm.extra" in message
    assert "1 of another shape: flow_lm.emb_mean (is [31], should be [32])" in message
    assert "wrong.safetensors" in message and "configuration belongs to these weights" in message


def test_weights_of_another_configuration(file: Path):
    other = parameter_shapes(load_config(packaged_config("english_7m_2026-10")))
    with pytest.raises(CheckpointError, match="do not fit the configuration") as error:
        load_checkpoint(file, other)
    assert " more" in str(error.value)  # long lists are cut
    assert len(str(error.value)) < 4000


def test_not_a_file(tmp_path: Path):
    with pytest.raises(CheckpointError, match="cannot be read"):
        map_safetensors(tmp_path)
    with pytest.raises(CheckpointError, match=r"no weight file at .*none\.safetensors"):
        map_safetensors(tmp_path / "none.safetensors")
