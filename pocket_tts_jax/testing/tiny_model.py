"""A complete model folder (with tokenizer and voice) of a few thousand random parameters."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import yaml
from safetensors.numpy import save_file

from pocket_tts_jax.config import Config, load_config, packaged_config, parse_config
from pocket_tts_jax.testing.random_checkpoint import random_tensors
from pocket_tts_jax.voice.state import VoiceState, voice_shape, write_voice

TOKENIZER = Path(__file__).parent / "words.model"


def tiny_config(flow: str = "lsd") -> Config:
    """The published structure with the smallest widths; Mimi's two sides have different sizes."""
    raw = plain(load_config(packaged_config("english_2m_2026-10")))
    lm, mimi = raw["flow_lm"], raw["mimi"]
    lm["flow"] = {"dim": 16, "depth": 2, "type": flow}
    lm["transformer"] |= {
        "d_model": 24,
        "num_heads": 4,
        "num_kv_heads": 2,
        "attn_dim": 32,
        "num_layers": 2,
        "dim_feedforward": 32,
    }
    bins = sentencepiece.SentencePieceProcessor(str(TOKENIZER)).vocab_size()
    lm["lookup_table"] |= {"dim": 24, "rank": 8, "n_bins": bins, "tokenizer": "sentencepiece"}
    lm["z_dim"] = 16
    small = {"dimension": 16, "n_filters": 2}
    attention = {
        "d_model": 16,
        "input_dimension": 16,
        "output_dimensions": [16],
        "num_heads": 2,
        "num_layers": 1,
        "dim_feedforward": 24,
        "context": 20,
    }
    for name in ("seanet", "decoder_seanet"):
        mimi[name] |= small
    for name in ("transformer", "decoder_transformer"):
        mimi[name] |= attention
    mimi |= {"inner_dim": 32, "outer_dim": 16}
    mimi["quantizer"] = {"dimension": 32, "output_dimension": 16}
    raw |= {"weights_path": None, "weights_path_without_voice_cloning": None}
    return parse_config(raw)


def write_model(
    folder: str | Path,
    flow: str = "lsd",
    config: Config | None = None,
    tokenizer: Path = TOKENIZER,
    **settings: Any,
) -> Path:
    """Write config.yaml, model.safetensors, the tokenizer and voices/tiny.safetensors."""
    folder, config = Path(folder), config or tiny_config(flow)
    (folder / "voices").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(plain(config)), encoding="utf-8")
    save_file(random_tensors(config), folder / "model.safetensors")
    shutil.copy(tokenizer, folder / f"tokenizer{tokenizer.suffix}")
    if settings:
        (folder / "voice.json").write_text(json.dumps(settings), encoding="utf-8")
    write_voice(folder / "voices" / "tiny.safetensors", tiny_voice(config))
    return folder


def tiny_voice(config: Config, length: int = 5, seed: int = 0) -> VoiceState:
    layers, kv_heads, head_dim = voice_shape(config)
    rng = np.random.default_rng(seed)
    k, v = rng.standard_normal((2, layers, kv_heads, length, head_dim), np.float32)
    return VoiceState(k, v)


def plain(value: Any) -> Any:
    """A configuration as the lists and mappings of its YAML."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: plain(getattr(value, f.name)) for f in fields}
    return list(value) if isinstance(value, tuple) else value
