"""The bytes that each part reads and its multiply-adds, counted from the checkpoint's shapes.

A part takes at least its bytes divided by the speed of memory, and at least its operations divided
by the speed of arithmetic. The larger of the two is its floor.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.limits import Limits
from pocket_tts_jax.config import Config
from pocket_tts_jax.weights.expected import Shape, parameter_shapes

# Bytes per weight by precision and by what the exporter's recipes distinguish.
_BYTES = {
    "fp32": {},
    "int8": {"attention": 1.0, "feed_forward": 1.0, "flow": 1.0, "mimi": 1.0},
    "mixed": {"attention": 1.0, "feed_forward": 0.5, "flow": 1.0, "mimi": 1.0},
    "int4": {"attention": 0.5, "feed_forward": 0.5, "flow": 1.0, "mimi": 1.0},
}
PRECISIONS = tuple(_BYTES)
_FLOAT = 4.0
CONDITION = "flow_lm.flow_net.cond_embed"


@dataclass(frozen=True)
class Cost:
    """The cost of one call of a part."""

    bytes: float
    multiply_adds: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.bytes + other.bytes, self.multiply_adds + other.multiply_adds)

    def floor_ms(self, limits: Limits) -> float:
        """The shortest possible time within `limits`, in ms."""
        memory = self.bytes / (limits.read_gb_s * 1e9)
        arithmetic = 2 * self.multiply_adds / (limits.matmul_gflop_s * 1e9)
        return max(memory, arithmetic) * 1e3


def flow_lm_cost(config: Config, precision: str, tokens: int, positions: int) -> Cost:
    """FlowLM without its flow head, for `tokens` inputs with `positions` in the cache."""
    shapes = _matrices(config, "flow_lm.")
    inside = {n: s for n, s in shapes.items() if ".transformer." in n}
    around = [
        shape
        for name, shape in shapes.items()
        if name.startswith(("flow_lm.input_linear", "flow_lm.out_eos", "flow_lm.z_proj"))
    ]
    cost = Cost(0, 0)
    for name, shape in inside.items():
        kind = "attention" if "self_attn" in name else "feed_forward"
        cost += _product(shape, _width(precision, kind), tokens)
    cost += _sum(_product(shape, _FLOAT, tokens) for shape in around)
    lm = config.flow_lm.transformer
    attention = lm.attn_dim or lm.d_model
    keys = attention // lm.num_heads * (lm.num_kv_heads or lm.num_heads)
    return cost + Cost(
        lm.num_layers * 2 * positions * keys * _FLOAT,
        lm.num_layers * 2 * positions * attention * tokens,
    )


def condition_cost(config: Config) -> Cost:
    """The flow head's condition: once per step, always in float32."""
    return _product(_matrices(config, CONDITION)[f"{CONDITION}.weight"], _FLOAT, 1)


def flow_head_cost(config: Config, precision: str) -> Cost:
    """One evaluation of the flow head. Time embeddings are constants, so they are not counted."""
    shapes = _matrices(config, "flow_lm.flow_net.")
    width = _width(precision, "flow")
    elsewhere = ("flow_lm.flow_net.time_embed.", CONDITION)
    return _sum(_product(s, width, 1) for n, s in shapes.items() if not n.startswith(elsewhere))


def step_cost(config: Config, precision: str, positions: int) -> Cost:
    """One frame of FlowLM: transformer and one evaluation of the flow head."""
    transformer = flow_lm_cost(config, precision, 1, positions)
    return transformer + condition_cost(config) + flow_head_cost(config, precision)


def mimi_cost(config: Config, precision: str, frames: int) -> Cost:
    """Mimi's decoder for `frames` frames in one call. Its convolutions are always float32."""
    mimi, seanet = config.mimi, config.mimi.decoder
    shapes = _matrices(config, "mimi.")
    steps = frames * mimi.steps_per_frame
    cost = _product(shapes["mimi.quantizer.output_proj.weight"], _FLOAT, frames)
    cost += _product(shapes["mimi.upsample.convtr.convtr.weight"], _FLOAT, frames)
    width = _width(precision, "mimi")
    for name, shape in shapes.items():
        if name.startswith("mimi.decoder_transformer."):
            cost += _product(shape, width, steps)
    attention = config.mimi.decoder_attention
    window = attention.num_layers * 2 * attention.context * attention.d_model
    cost += Cost(window * _FLOAT, window * steps)
    ratios, per_layer = iter(seanet.ratios), steps
    decoder = {n: s for n, s in shapes.items() if n.startswith("mimi.decoder.")}
    for name, shape in decoder.items():
        cost += _product(shape, _FLOAT, per_layer)
        if ".convtr." in name:  # its weights act on each input; later layers have more samples
            per_layer *= next(ratios)
    return cost


def _matrices(config: Config, prefix: str) -> dict[str, Shape]:
    """The weights of products and convolutions whose names start with `prefix`."""
    return {
        name: shape
        for name, shape in parameter_shapes(config).items()
        if name.startswith(prefix) and name.endswith("weight") and len(shape) > 1
    }


def _product(shape: Shape, width: float, times: int) -> Cost:
    size = math.prod(shape)
    return Cost(size * width, size * times)


def _sum(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost(0, 0))


def _width(precision: str, kind: str) -> float:
    if precision not in _BYTES:
        raise ValueError(f"the roofline knows {', '.join(_BYTES)}, not {precision!r}")
    return _BYTES[precision].get(kind, _FLOAT)
