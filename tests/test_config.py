"""The configuration files: the published ones, and everything that can be wrong with one."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pocket_tts_jax.config import (
    CONFIGS,
    available_configs,
    load_config,
    packaged_config,
    parse_config,
)
from pocket_tts_jax.errors import ConfigError

NAME = "english_2m_2026-10"


@pytest.fixture
def raw() -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / f"{NAME}.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def full() -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / "english_2026-10.yaml").read_text(encoding="utf-8"))


def test_there_are_27():
    assert len(available_configs()) == 27


@pytest.mark.parametrize("name", available_configs())
def test_published_configs(name: str):
    config = load_config(packaged_config(name))
    assert config.mimi.frame_size == 1920
    assert config.mimi.steps_per_frame == 16
    assert config.mimi.seanet.hop_length == 120
    assert config.latent_dim == 32
    assert config.weights_path and config.weights_path.startswith("hf://kyutai/pocket-tts/")
    assert config.flow_lm.transformer.num_layers == (24 if "24l" in name else config_layers(name))


def config_layers(name: str) -> int:
    return 8 if any(size in name for size in ("_2m_", "_7m_", "_18m_")) else 6


def test_what_is_derived():
    small, full = (load_config(packaged_config(n)) for n in (NAME, "english_2026-10"))
    assert [small.flow_lm.flow.time_conditions, full.flow_lm.flow.time_conditions] == [0, 2]
    assert small.mimi.decoder.n_filters == 24 and small.mimi.decoder_attention.context == 50
    assert full.mimi.decoder is full.mimi.seanet
    assert full.mimi.decoder_attention is full.mimi.transformer
    assert (small.mimi.encoded_dim, small.default_eos_threshold) == (32, -1.0)


@pytest.mark.reference
@pytest.mark.parametrize("name", available_configs())
def test_the_reference_reads_the_same(name: str):
    tts_model = pytest.importorskip("pocket_tts.models.tts_model")
    published = Path(tts_model.CONFIGS_DIR) / f"{name}.yaml"
    assert load_config(published) == load_config(packaged_config(name))


def test_every_mistake_is_named_at_once(raw: dict[str, Any]):
    raw["flow_ml"] = {}
    raw["flow_lm"]["flow"]["type"] = "euler"
    raw["flow_lm"]["transformer"]["num_heads"] = "3"
    raw["flow_lm"]["transformer"]["heads"] = 3
    raw["default_eos_threshold"] = True
    raw["replace_characters"] = {"a": 1}
    del raw["mimi"]["seanet"]["ratios"]
    del raw["mimi"]["frame_rate"]
    raw["mimi"]["quantizer"] = [32]
    with pytest.raises(ConfigError) as error:
        parse_config(raw)
    for part in (
        "unknown key flow_ml",
        "flow_lm.flow.type: expected one of 'lsd', 'flow_matching', 'drifting', 'pointwise'",
        "flow_lm.transformer.num_heads: expected int, got '3'",
        "unknown key flow_lm.transformer.heads",
        "default_eos_threshold: expected float, got True",
        "replace_characters: expected a mapping of text to text",
        "missing key mimi.seanet.ratios",
        "missing key mimi.frame_rate",
        "mimi.quantizer: expected a mapping, got list",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_not_a_mapping(content: Any):
    with pytest.raises(ConfigError, match="the file: expected a mapping"):
        parse_config(content)


CONTRADICTIONS = {
    "num_heads must divide attn_dim": {"flow_lm.transformer.attn_dim": 193},
    "num_kv_heads must divide num_heads": {"flow_lm.transformer.num_kv_heads": 2},
    "must equal flow_lm.transformer.d_model": {"flow_lm.lookup_table.dim": 100},
    "must be float32": {"mimi.dtype": "bfloat16"},
    "mimi.channels must be 1": {"mimi.channels": 2},
    "mimi.frame_rate must divide": {"mimi.sample_rate": 24001},
    "must have the hop length": {"mimi.decoder_seanet.ratios": [6, 5, 5]},
    "mimi.outer_dim must equal": {"mimi.outer_dim": 64},
    "must equal mimi.outer_dim": {"mimi.quantizer.output_dimension": 64},
}


@pytest.mark.parametrize("message", CONTRADICTIONS)
def test_contradictions(raw: dict[str, Any], message: str):
    for path, value in CONTRADICTIONS[message].items():
        *sections, key = path.split(".")
        section = raw
        for name in sections:
            section = section[name]
        section[key] = value
    with pytest.raises(ConfigError, match="contradicts itself") as error:
        parse_config(raw)
    assert message in str(error.value)


@pytest.mark.parametrize("value", [0, -3])
def test_sizes_are_positive(raw: dict[str, Any], value: int):
    raw["flow_lm"]["transformer"]["num_heads"] = value
    raw["mimi"]["frame_rate"] = value
    raw["mimi"]["seanet"]["ratios"] = [6, value, 4]
    with pytest.raises(ConfigError) as error:
        parse_config(raw)
    for name in ("flow_lm.transformer.num_heads", "mimi.frame_rate", "mimi.seanet.ratios"):
        assert f"{name}: expected a number above 0" in str(error.value)


def test_contradictions_are_named_together(raw: dict[str, Any]):
    raw["mimi"]["channels"] = 2
    raw["flow_lm"]["dtype"] = "float16"
    with pytest.raises(ConfigError) as error:
        parse_config(raw)
    assert "mimi.channels" in str(error.value) and "float32" in str(error.value)


def test_numbers(full: dict[str, Any]):
    changed = copy.deepcopy(full)
    changed["flow_lm"]["transformer"]["max_period"] = 20000  # a whole number where a float is due
    assert parse_config(changed).flow_lm.transformer.max_period == 20000.0
    changed["flow_lm"]["transformer"]["num_layers"] = 6.0  # but never the reverse
    with pytest.raises(ConfigError, match=r"num_layers: expected int, got 6\.0"):
        parse_config(changed)


def test_files(tmp_path: Path):
    missing, broken = tmp_path / "none.yaml", tmp_path / "broken.yaml"
    with pytest.raises(ConfigError, match="There is no configuration file at .*none.yaml"):
        load_config(missing)
    broken.write_text("flow_lm: [", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken.yaml cannot be read"):
        load_config(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"broken.yaml cannot be read"):
        load_config(broken)
    broken.write_text("flow_lm: {}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken.yaml: .*missing key mimi"):
        load_config(broken)


def test_unknown_name():
    with pytest.raises(ConfigError, match="no model called 'klingon'.*english_2m_2026-10"):
        packaged_config("klingon")
