"""One model of each published family, with its structure and a few thousand random parameters."""

from pathlib import Path
from typing import Any

from pocket_tts_jax.config import Config, load_config, packaged_config, parse_config
from pocket_tts_jax.testing.tiny_model import plain, tiny_config, write_model
from tests.folders import GOLDEN

LAYERS = {
    "english_2026-10": 6,
    "english_2026-09_24l": 3,  # cut short
    "english_7m_2026-10": 2,  # grouped queries, and a codec of two sizes
    "english_drifting_26-09": 2,
}
_TOKENIZERS = {"sentencepiece": "words.model", "tokenizers": "marked.json"}


def small_config(name: str) -> Config:
    """A packaged configuration with narrow layers; what it has and has not stays."""
    raw, tiny = plain(load_config(packaged_config(name))), plain(tiny_config())
    lm, mimi = raw["flow_lm"], raw["mimi"]
    lm["flow"] |= {"dim": 16, "depth": 2}
    _narrow(lm["transformer"], {"d_model": 32, "num_heads": 4, "num_kv_heads": 2, "attn_dim": 64})
    _narrow(lm["transformer"], {"dim_feedforward": 32, "num_layers": LAYERS[name]})
    _narrow(lm["lookup_table"], {"dim": 32, "rank": 8, "n_bins": 600})
    _narrow(lm, {"z_dim": 16})
    for part, narrow in tiny["mimi"].items():
        if isinstance(narrow, dict):
            _narrow(mimi[part] or {}, narrow)
    mimi |= {name: tiny["mimi"][name] for name in ("inner_dim", "outer_dim")}
    raw |= {"weights_path": None, "weights_path_without_voice_cloning": None}
    return parse_config(raw)


def write_family(folder: Path, name: str) -> Path:
    """Write config.yaml, model.safetensors, the tokenizer and voices/tiny.safetensors."""
    config = small_config(name)
    tokenizer = GOLDEN / _TOKENIZERS[config.flow_lm.lookup_table.tokenizer]
    return write_model(folder, config=config, tokenizer=tokenizer)


def _narrow(part: dict[str, Any], sizes: dict[str, Any]) -> None:
    """Change the sizes that `part` gives; a size that it leaves open stays open."""
    part |= {key: size for key, size in sizes.items() if part.get(key) is not None}
