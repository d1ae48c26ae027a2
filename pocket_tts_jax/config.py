"""The YAML configuration of a model, as frozen dataclasses.

The fields are those of the published files (27 of them are in `configs/`). They are read strictly:
one `ConfigError` names every unknown, missing and mistyped key. Derived widths (heads, frames,
keys and values) are properties here, so that no other file repeats the arithmetic.
"""

import dataclasses
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pocket_tts_jax.errors import ConfigError, ConfigNotFound
from pocket_tts_jax.files.read import LARGEST_YAML, parse_yaml, read_text
from pocket_tts_jax.files.verify import damage

CONFIGS = Path(__file__).parent / "configs"
TIME_FREQUENCIES = 256  # width of a time embedding in the flow head
MAX_TOKENS = 50  # longest chunk of text that Kyutai's models read well

# Beyond any model, and small enough that every product of them can be computed at once.
_LARGEST = 1 << 20
_LARGEST_COUNTS = {
    "num_layers": 1024,
    "depth": 1024,
    "n_residual_layers": 64,
    "model_recommended_frames_after_eos": 1024,
}
_SMALLEST = 1e-9  # rate, size or scale
_MOST_RATIOS = 16
_LONGEST_FRAME = 1 << 16  # samples
_WIDEST_SLOT = 1 << 18  # numbers in one slot of the attention cache
_MISTAKES_SHOWN = 20

FlowType = Literal["lsd", "flow_matching", "drifting", "pointwise"]


@dataclass(frozen=True)
class FlowConfig:
    """The head that turns noise into a latent. `type` sets the number of its time inputs."""

    dim: int
    depth: int
    type: FlowType = "lsd"

    @property
    def time_conditions(self) -> int:
        return {"lsd": 2, "flow_matching": 1, "drifting": 0, "pointwise": 0}[self.type]


@dataclass(frozen=True)
class FlowLMTransformerConfig:
    hidden_scale: int
    max_period: float
    d_model: int
    num_heads: int
    num_layers: int
    attn_dim: int | None = None
    num_kv_heads: int | None = None
    dim_feedforward: int | None = None


@dataclass(frozen=True)
class LookupTableConfig:
    dim: int
    n_bins: int
    tokenizer: str
    tokenizer_path: str
    rank: int | None = None


@dataclass(frozen=True)
class FlowLMConfig:
    dtype: str
    flow: FlowConfig
    transformer: FlowLMTransformerConfig
    lookup_table: LookupTableConfig
    z_dim: int | None = None
    weights_path: str | None = None
    insert_bos_before_voice: bool = False


@dataclass(frozen=True)
class SEANetConfig:
    dimension: int
    channels: int
    n_filters: int
    n_residual_layers: int
    ratios: tuple[int, ...]
    kernel_size: int
    residual_kernel_size: int
    last_kernel_size: int
    dilation_base: int
    pad_mode: Literal["constant"]
    compress: int

    @property
    def hop_length(self) -> int:
        """Samples per step of the SEANet's inner rate."""
        return math.prod(self.ratios)


@dataclass(frozen=True)
class MimiTransformerConfig:
    d_model: int
    input_dimension: int
    output_dimensions: tuple[int, ...]
    num_heads: int
    num_layers: int
    layer_scale: float
    context: int
    dim_feedforward: int
    max_period: float = 10000.0


@dataclass(frozen=True)
class QuantizerConfig:
    dimension: int
    output_dimension: int


@dataclass(frozen=True)
class MimiConfig:
    dtype: str
    sample_rate: int
    channels: int
    frame_rate: float
    seanet: SEANetConfig
    transformer: MimiTransformerConfig
    quantizer: QuantizerConfig
    weights_path: str | None = None
    inner_dim: int | None = None
    outer_dim: int | None = None
    decoder_seanet: SEANetConfig | None = None
    decoder_transformer: MimiTransformerConfig | None = None

    @property
    def frame_size(self) -> int:
        """Samples per latent frame (1920: 80 ms at 24 kHz)."""
        return int(self.sample_rate / self.frame_rate)

    @property
    def decoder(self) -> SEANetConfig:
        return self.decoder_seanet or self.seanet

    @property
    def decoder_attention(self) -> MimiTransformerConfig:
        return self.decoder_transformer or self.transformer

    @property
    def steps_per_frame(self) -> int:
        """Transformer steps per latent frame (16)."""
        return self.frame_size // self.seanet.hop_length

    @property
    def encoded_dim(self) -> int:
        """Width of the encoder's latents, which the voice projection reads."""
        return self.inner_dim or self.seanet.dimension


@dataclass(frozen=True)
class Config:
    flow_lm: FlowLMConfig
    mimi: MimiConfig
    weights_path: str | None = None
    weights_path_without_voice_cloning: str | None = None
    pad_with_spaces_for_short_inputs: bool = False
    remove_semicolons: bool = False
    append_terminal_punctuation: bool = True
    capitalize_first_letter: bool = True
    replace_characters: Mapping[str, str] = field(default_factory=dict)
    model_recommended_frames_after_eos: int | None = None
    default_temperature: float = 0.3
    default_eos_threshold: float = -4.0

    @property
    def latent_dim(self) -> int:
        """Width of the latents that FlowLM makes and Mimi decodes."""
        return self.mimi.quantizer.dimension

    def __post_init__(self) -> None:
        mistakes = _contradictions(self)
        if mistakes:
            raise ConfigError("The configuration contradicts itself: " + "; ".join(mistakes))


def _contradictions(config: Config) -> list[str]:
    lm, mimi = config.flow_lm.transformer, config.mimi
    attn_dim, kv_heads = lm.attn_dim or lm.d_model, lm.num_kv_heads or lm.num_heads
    decoder = mimi.decoder
    checks = {
        "flow_lm.transformer: num_heads must divide attn_dim": attn_dim % lm.num_heads == 0,
        "flow_lm.transformer: num_kv_heads must divide num_heads": lm.num_heads % kv_heads == 0,
        f"flow_lm.transformer: layers and heads must not need more than {_WIDEST_SLOT} numbers a "
        "slot": lm.num_layers * 2 * attn_dim // lm.num_heads * kv_heads <= _WIDEST_SLOT,
        "flow_lm.lookup_table.dim must equal flow_lm.transformer.d_model": (
            config.flow_lm.lookup_table.dim == lm.d_model
        ),
        "flow_lm.dtype and mimi.dtype must be float32": (
            config.flow_lm.dtype == mimi.dtype == "float32"
        ),
        "mimi.channels must be 1": mimi.channels == 1,
        "mimi.frame_rate must divide the rate of the SEANet": (
            mimi.seanet.hop_length <= mimi.frame_size <= _LONGEST_FRAME
            and mimi.sample_rate % mimi.seanet.hop_length == 0
            and mimi.frame_size % mimi.seanet.hop_length == 0
        ),
        "mimi.decoder_seanet must have the hop length of mimi.seanet": (
            decoder.hop_length == mimi.seanet.hop_length
        ),
        "mimi.outer_dim must equal the dimension of the decoder's SEANet": (
            (mimi.outer_dim or decoder.dimension) == decoder.dimension
        ),
        "mimi.quantizer.output_dimension must equal mimi.outer_dim": (
            mimi.quantizer.output_dimension == (mimi.outer_dim or decoder.dimension)
        ),
    }
    return [message for message, holds in checks.items() if not holds]


def available_configs() -> list[str]:
    """Names of the configurations in the package, such as "english_2026-10"."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def packaged_config(name: str) -> Path:
    """Path of the packaged configuration `name`. Raises ConfigError, which lists the names."""
    path = CONFIGS / f"{name}.yaml"
    if name not in available_configs():
        known = ", ".join(available_configs())
        raise ConfigNotFound(f"There is no model called {name!r}. Choose one of: {known}.")
    return path


def load_config(path: str | Path) -> Config:
    """Read one YAML file. Raises ConfigError with every unknown, missing and mistyped key."""
    path = Path(path)
    try:
        raw = parse_yaml(read_text(path, LARGEST_YAML))
        reason = damage(path)
    except FileNotFoundError:
        raise ConfigNotFound(f"There is no configuration file at {path}.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error}") from error
    if reason is not None:
        raise ConfigError(f"{reason} If you changed it on purpose, remove its line from there.")
    try:
        return parse_config(raw)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_config(raw: Any) -> Config:
    """Build a `Config` from the mapping in a YAML file. Raises ConfigError as `load_config`."""
    mistakes: list[str] = []
    config = _build(Config, raw, "", mistakes)
    if mistakes:
        more = len(mistakes) - _MISTAKES_SHOWN
        shown = mistakes[:_MISTAKES_SHOWN] + ([f"{more} more mistakes"] if more > 0 else [])
        raise ConfigError("; ".join(shown))
    return config


def _build(cls: type, raw: Any, where: str, mistakes: list[str]) -> Any:
    """Build one dataclass from one mapping; append what is wrong to `mistakes`."""
    if not isinstance(raw, Mapping):
        mistakes.append(f"{where or 'the file'}: expected a mapping, got {type(raw).__name__}")
        return None
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    prefix = f"{where}." if where else ""
    mistakes += [f"unknown key {prefix}{_name(key)}" for key in raw if key not in fields]
    values = {}
    for name, spec in fields.items():
        if name in raw:
            values[name] = _convert(hints[name], raw[name], prefix + name, mistakes)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            mistakes.append(f"missing key {prefix}{name}")
    return None if mistakes else cls(**values)


def _convert(hint: Any, value: Any, where: str, mistakes: list[str]) -> Any:
    """`value` as the type of `hint`. Only int is converted, to float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        hint = next(a for a in arguments if a is not type(None))
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where, mistakes)
    if origin is tuple and isinstance(value, list) and 0 < len(value) <= _MOST_RATIOS:
        return tuple(_convert(arguments[0], v, where, mistakes) for v in value)
    if origin is Literal:
        if value not in arguments:
            expected = ", ".join(map(repr, arguments))
            mistakes.append(f"{where}: expected one of {expected}, got {_short(value)}")
        return value
    if origin is Mapping:
        if not isinstance(value, Mapping) or not all(
            isinstance(k, str) and isinstance(v, str) for k, v in value.items()
        ):
            mistakes.append(f"{where}: expected a mapping of text to text, got {_short(value)}")
            return {}
        return dict(value)
    if hint is float and type(value) is int and abs(value) <= _LARGEST:
        value = float(value)
    if not isinstance(hint, type) or type(value) is not hint:
        name = getattr(hint, "__name__", str(hint))
        mistakes.append(f"{where}: expected {name}, got {_short(value)}")
    elif isinstance(value, int | float) and hint in (int, float):
        _check_range(value, where, mistakes)
    return value


def _short(value: object) -> str:
    """`value` in a few characters, whatever it is."""
    try:
        return reprlib.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _name(key: object) -> str:
    return _short(key)[1:-1] if isinstance(key, str) else _short(key)


def _check_range(value: int | float, where: str, mistakes: list[str]) -> None:
    """Sizes, rates and counts (all but the defaults of generation) are above 0."""
    largest = _LARGEST_COUNTS.get(where.rpartition(".")[2], _LARGEST)
    if "." in where and not value > _SMALLEST:
        mistakes.append(f"{where}: expected a number above 0, got {_short(value)}")
    elif not abs(value) <= largest:  # NaN too
        mistakes.append(f"{where}: expected at most {largest}, got {_short(value)}")
