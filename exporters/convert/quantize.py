"""Quantises a converted file. The only file that uses the quantiser.

A recipe is a list of (scope, bits). Products whose name contains the scope get weights of that many
bits, with one scale per output channel. Activations stay in float and are quantised at run time,
with one scale per row. Later entries override earlier ones. The scopes are named in
`graph.functions` and `graph.signatures`: attention, feed_forward, condition, flow, convolution.
Other products are small.

With eight bits the scale is that of the largest weight. With four bits the scale has the least
error (OCTAV, Sakr et al. 2022), which is 2 dB better on Gaussian weights. One scale per 32 inputs
would gain another 2 dB, but LiteRT 2.3 reads all scales again for each signature: loading took
0.18 s instead of 0.03 s, and prefills took twice as long.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

Precision = Literal["fp32", "fp16", "int8", "int4", "mixed"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8", "int4", "mixed")
Decoder = Literal["fp32", "int8"]
DECODERS: tuple[Decoder, ...] = ("fp32", "int8")


class Rule(NamedTuple):
    """Weights of `bits` for the products in `scope`; 32 leaves them in float32."""

    scope: str
    bits: int


# Mimi's convolutions stay in float unless an option says otherwise: their errors go straight into
# the samples.
_FLOAT_CONVOLUTIONS = Rule("convolution", 32)
# The flow head's condition stays in float. It is one small product, used once for each evaluation
# of the head, and the quantiser damages a weight that one graph uses twice.
_FLOAT = (_FLOAT_CONVOLUTIONS, Rule("condition", 32))

RECIPES: dict[Precision, tuple[Rule, ...]] = {
    "fp32": (),
    "fp16": (Rule("", 16),),
    "int8": (Rule("", 8), *_FLOAT),
    # Three quarters of FlowLM's bytes are in its feed-forward layers.
    "mixed": (Rule("", 8), Rule("feed_forward", 4), *_FLOAT),
    # The flow head reads its own output, so errors add up: it keeps 8 bits.
    "int4": (Rule("", 8), Rule("attention", 4), Rule("feed_forward", 4), *_FLOAT),
}


# `--decoder int8`: the first four of the eight layers of the decoder's SEANet, to its second
# upsampling. Quantising the others too would save 2 % more bytes, and is heard in the highest band.
# The embedded voice against float convolutions (`benchmarks.decoders`), log-spectral distance above
# 8 kHz: 0.3 dB with none of them in 8 bits, 0.8 dB with these four, but 3.1, 10.8 and 18.4 dB with
# layer 5, 6 or 7 alone. The signal-to-noise ratio of these four is 36.6 dB (none: 41 dB).
WIDE_CONVOLUTIONS = tuple(Rule(f"layer_{i}/convolution", 8) for i in range(4))


def precision_of(file: str, precision: Precision, decoder: Decoder) -> Precision:
    """The precision of one file of an export. Mimi's transformers keep 8 bits: they are small, and
    their errors are in every sample."""
    if _in_int8(file, decoder):
        return "int8"
    return "int8" if file.startswith("mimi") and precision in ("mixed", "int4") else precision


def recipe_of(file: str, precision: Precision, decoder: Decoder) -> tuple[Rule, ...]:
    """The rules for one file of an export."""
    rules = RECIPES[precision_of(file, precision, decoder)]
    return rules + WIDE_CONVOLUTIONS if _in_int8(file, decoder) else rules


def _in_int8(file: str, decoder: Decoder) -> bool:
    """Whether the option for the decoder's convolutions changes this file."""
    return decoder == "int8" and file.startswith("mimi_decoder")


def bits_of(product: str, rules: tuple[Rule, ...]) -> int:
    """Bits of the weights of a product with this name."""
    return next((rule.bits for rule in reversed(rules) if rule.scope in product), 32)


def quantize(source: Path, target: Path, rules: tuple[Rule, ...]) -> None:
    """Write `source` with quantised weights to `target`."""
    from ai_edge_quantizer import qtyping, quantizer

    work = quantizer.Quantizer(str(source))
    for rule in rules:
        _add(work, f".*{rule.scope}.*", rule.bits, qtyping)
    target.write_bytes(cast(bytes, work.quantize().quantized_model))


def _add(work: Any, regex: str, bits: int, qtyping: Any) -> None:
    products = (qtyping.TFLOperationName.FULLY_CONNECTED, qtyping.TFLOperationName.CONV_2D)
    for operation in products:
        if bits == 32:
            work.update_quantization_recipe(regex, operation, algorithm_key="no_quantize")
        elif bits == 16:
            work.update_quantization_recipe(
                regex,
                operation,
                qtyping.OpQuantizationConfig(
                    weight_tensor_config=qtyping.TensorQuantizationConfig(
                        num_bits=16, dtype=qtyping.TensorDataType.FLOAT
                    ),
                    compute_precision=qtyping.ComputePrecision.FLOAT,
                    explicit_dequantize=True,
                ),
                "float_casting",
            )
        else:
            algorithm = "OCTAV" if bits == 4 else "min_max_uniform_quantize"
            work.add_dynamic_config(regex, operation, bits, algorithm_key=algorithm)
