"""The parts of an engine against the machine's limits."""

import json

import numpy as np
import pytest

from benchmarks import limits, parts, roofline, step
from benchmarks.limits import Limits
from benchmarks.roofline import Cost
from pocket_tts_jax.config import load_config, packaged_config
from pocket_tts_jax.generation.stream import SCHEDULE
from pocket_tts_jax.litert_engine import mimi as litert_mimi
from pocket_tts_jax.testing.tiny_model import tiny_config
from pocket_tts_jax.weights.expected import parameter_shapes
from tests.folders import ROOT

CONFIG = load_config(packaged_config("english_2026-10"))


def test_the_page_on_performance_shows_the_committed_report():
    path = ROOT / "benchmarks" / "results" / "step.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    measured = {limit["threads"]: Limits(**limit) for limit in report["limits"]}
    for row in report["parts"]:
        engine, limit = row["engine"].rpartition(".")[2], measured[row["threads"]]
        known = (row["precision"], row["threads"], row["part"], row["ms"])
        assert step.describe(engine, *known, CONFIG, limit) == row
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "\n".join(step.frame_lines(report["parts"])) in page


def test_a_frame_is_decoded_in_the_calls_that_the_engine_makes():
    assert step.AT_ONCE["pocket_tts_jax.litert"] == litert_mimi.AT_ONCE
    assert step.AT_ONCE["pocket_tts_jax.jax"] == max(SCHEDULE)
    found = {"step": 5.0, "mimi 4": 20.0, "mimi 8": 80.0}
    rows = [
        {"engine": "pocket_tts_jax.litert", "precision": "int8", "threads": 2}
        | {"part": part, "ms": ms, "floor_ms": ms / 2}
        for part, ms in found.items()
    ]
    (line,) = step.frame_lines(rows)
    assert "10.00 ms a frame, that is 8.0× real time; floor 5.00 ms, 16.0×" in line


def test_a_floor_is_the_slower_of_memory_and_arithmetic():
    machine = Limits(threads=1, read_gb_s=10.0, copy_gb_s=10.0, matmul_gflop_s=100.0)
    assert Cost(10e6, 1).floor_ms(machine) == pytest.approx(1.0)
    assert Cost(1, 100e6).floor_ms(machine) == pytest.approx(2.0)


def test_a_step_reads_every_weight_of_the_transformer_and_the_head_once():
    shapes = parameter_shapes(CONFIG)
    read = [
        np.prod(shape)
        for name, shape in shapes.items()
        if name.startswith(("flow_lm.transformer", "flow_lm.flow_net", "flow_lm.input_linear"))
        and len(shape) > 1
        and "time_embed" not in name
    ]
    cost = roofline.step_cost(CONFIG, "fp32", positions=0)
    assert cost.multiply_adds == sum(read) + 1024  # and the EOS head
    assert cost.bytes == 4 * cost.multiply_adds


def test_what_the_head_is_told_of_the_text_is_float32_and_read_once_a_step():
    told = 512 * 1024
    assert roofline.condition_cost(CONFIG) == Cost(4 * told, told)
    for precision in ("fp32", "int8"):
        head = roofline.flow_head_cost(CONFIG, precision)
        transformer = roofline.flow_lm_cost(CONFIG, precision, 1, 256)
        both = roofline.step_cost(CONFIG, precision, 256)
        assert both.bytes - transformer.bytes - head.bytes == 4 * told
        assert both.multiply_adds - transformer.multiply_adds - head.multiply_adds == told


def test_quantised_weights_are_fewer_bytes_for_the_same_work():
    costs = [roofline.step_cost(CONFIG, p, 256) for p in ("fp32", "int8", "mixed", "int4")]
    assert len({cost.multiply_adds for cost in costs}) == 1
    sizes = [cost.bytes for cost in costs]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4


def test_frames_share_the_decoders_weights():
    one, eight = (roofline.mimi_cost(CONFIG, "fp32", n) for n in (1, 8))
    assert eight.bytes == one.bytes
    assert eight.multiply_adds == 8 * one.multiply_adds


def test_an_unknown_precision_has_no_roofline():
    with pytest.raises(ValueError, match="int5"):
        roofline.step_cost(CONFIG, "int5", 1)


def test_jax_is_timed_on_numbers():
    state = parts.random_state(tiny_config(), np.random.default_rng(0))
    assert len(state.layers) == 2 and state.position.tolist() == [parts.POSITION]
    for cache in state.layers:
        for slots in cache:
            assert slots.shape[2] == parts.POSITIONS and np.std(np.asarray(slots)) > 0.9


def test_limits_are_measured():
    found = limits.measure_here(1, array_bytes=1 << 20, matrix=64)
    assert min(found.read_gb_s, found.copy_gb_s, found.matmul_gflop_s) > 0
