"""The published format: all tensors of a model in one file, and the voice of its start token."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import yaml
from jaxtyping import Float
from safetensors.numpy import save

from pocket_tts_jax.config import Config
from pocket_tts_jax.files.atomic import atomic_file
from pocket_tts_jax.files.verify import sums_of, write_sums
from pocket_tts_jax.model.flow_lm import FlowLM, init_state
from pocket_tts_jax.voice.state import VoiceState, write_voice
from pocket_tts_jax.weights.checkpoint import check_tensors, parameter_tree
from pocket_tts_jax.weights.expected import parameter_shapes, under
from pocket_tts_jax.weights.settings import ModelSettings
from pocket_tts_jax.weights.source import WEIGHTS, ModelSource
from training.loop.initialise import DISCRIMINATOR, ENCODER, VOICES, initial_tensors

UNTRAINED = tuple(f"mimi.{part}" for part in ENCODER)
PROJECTION = "flow_lm.speaker_proj_weight"


def gather_tensors(
    config: Config,
    flow_lm: Mapping[str, np.ndarray],
    mimi: Mapping[str, np.ndarray],
    mean: np.ndarray,
    std: np.ndarray,
) -> dict[str, np.ndarray]:
    """All tensors of the published file: trained ones, the latents' statistics, and what no run
    has to train: the encoder (first values), the voice projection (zeros), the frequencies of the
    times (constants). Voices are not among them: each is a file of its own."""
    first = initial_tensors(config)
    tensors = {n: t for n, t in first.items() if n.startswith(UNTRAINED) or n.endswith(".freqs")}
    tensors[PROJECTION] = np.zeros_like(first[PROJECTION])
    tensors |= {f"flow_lm.{n}": t for n, t in flow_lm.items() if not n.startswith(VOICES)}
    tensors |= {f"mimi.{n}": t for n, t in mimi.items() if not n.startswith(DISCRIMINATOR)}
    tensors |= {"flow_lm.emb_mean": mean, "flow_lm.emb_std": std}
    found = {name: np.shape(tensor) for name, tensor in tensors.items()}
    check_tensors(found, parameter_shapes(config), "the training checkpoints")
    return tensors


def start_voice(
    config: Config,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    start: Float[np.ndarray, " d"] | None = None,
) -> VoiceState:
    """The cache after the start token alone, or after the vector that leads another speaker."""
    model = FlowLM.of(config)
    variables = {"params": parameter_tree(under(tensors, "flow_lm."))}
    nothing = jnp.zeros((1, 0, config.mimi.encoded_dim))
    prefix = model.apply(variables, nothing, method="embed_voice")
    if start is not None:
        prefix = jnp.asarray(start)[None, None]
    state = init_state(config.flow_lm, 1, prefix.shape[1])  # pyright: ignore
    one = jnp.array([prefix.shape[1]], jnp.int32)  # pyright: ignore
    state = jax.jit(lambda v: model.apply(v, state, prefix, one, method="prefill"))(variables)
    k = np.stack([np.asarray(layer.k[0]) for layer in state.layers])  # pyright: ignore
    v = np.stack([np.asarray(layer.v[0]) for layer in state.layers])  # pyright: ignore
    return VoiceState(k, v, metadata=metadata)


def write_model(path: Path, tensors: Mapping[str, np.ndarray], half: bool) -> None:
    """`model.safetensors`; with `half`, matrices as float16 (vectors are small and stay)."""
    stored = {
        name: np.ascontiguousarray(tensor, np.float16 if half and tensor.ndim > 1 else np.float32)
        for name, tensor in tensors.items()
    }
    with atomic_file(path) as file:
        file.write(save(stored))


def as_stored(tensors: Mapping[str, np.ndarray], half: bool) -> dict[str, np.ndarray]:
    """The tensors as they read back: rounded to float16 where `write_model` does so."""
    return {
        name: tensor.astype(np.float16).astype(np.float32) if half and tensor.ndim > 1 else tensor
        for name, tensor in tensors.items()
    }


def write_folder(
    folder: Path,
    source: ModelSource,
    tensors: Mapping[str, np.ndarray],
    voices: Mapping[str, VoiceState],
) -> None:
    """A folder that speaks at once: what `source` is, with other tensors and voices. The first
    voice becomes the default one."""
    (folder / "voices").mkdir(parents=True, exist_ok=True)
    write_model(folder / WEIGHTS, tensors, half=False)
    tokenizer = {"sentencepiece": "tokenizer.model", "tokenizers": "tokenizer.json"}
    file = tokenizer[source.tokenizer_kind]
    shutil.copyfile(source.tokenizer, folder / file)
    settings = plain_settings(source.config)
    settings |= {"weights_path": WEIGHTS, "weights_path_without_voice_cloning": None}
    settings["flow_lm"] |= {"weights_path": None}
    settings["mimi"] |= {"weights_path": None}
    settings["flow_lm"]["lookup_table"]["tokenizer_path"] = file
    settings["flow_lm"]["lookup_table"]["tokenizer"] = source.tokenizer_kind
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    cloning = source.has_voice_cloning
    about = dataclasses.replace(
        source.settings, default_voice=next(iter(voices)), has_voice_cloning=cloning
    )
    write_about(folder, about)
    for name, voice in voices.items():
        write_voice(folder / "voices" / f"{name}.safetensors", voice)
    write_sums(folder, sums_of(folder))


def write_about(folder: Path, about: ModelSettings) -> None:
    """`voice.json`, without what is unset."""
    given = {k: v for k, v in dataclasses.asdict(about).items() if v is not None}
    (folder / "voice.json").write_text(json.dumps(given, indent=2) + "\n", "utf-8")


def plain_settings(value: Any) -> Any:
    """A configuration as the mappings and lists of its YAML."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: plain_settings(getattr(value, f.name)) for f in fields}
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
