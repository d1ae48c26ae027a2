"""The benchmarks' arithmetic and reports, on figures that are made up here."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare, engines, latency, limits, plots, roofline, soak, table, targets
from benchmarks.compare import Case
from benchmarks.limits import Limits
from benchmarks.roofline import Cost
from benchmarks.tokenizer import pieces, write_tokenizer
from benchmarks.workload import ptts_config
from pocket_tts_jax.config import load_config, packaged_config
from pocket_tts_jax.parameters import parameter_shapes
from pocket_tts_jax.tokenizer import load_tokenizer

CONFIG = load_config(packaged_config("english_2026-10"))
ROOT = Path(__file__).parents[1]


def _run(rtf: float, **changes: float) -> dict:
    figures = dict.fromkeys(compare.FIELDS, 1.0) | {"rtf": rtf, "first_audio_ms": 100.0}
    return figures | {"arrivals_ms": [100.0, 150.0, 150.0]} | changes


def _report() -> dict:
    cases = {
        Case("pocket_tts_jax.litert", "int8", 2): [_run(r) for r in (8.0, 9.0, 10.0)],
        Case("pocket_tts_jax.litert", "fp32", 2): [_run(4.0)],
        Case("pocket_tts_jax.jax", "fp32", 2): [_run(3.0)],
        Case("pocket_tts_jax.jax", "fp32", 2, 16): [_run(12.0, first_audio_ms=900.0)],
        Case("pocket-tts", "fp32", 1): [_run(2.0, first_audio_ms=300.0)],
        Case("ptts", "q4k", 2): [_run(4.0, first_audio_ms=200.0)],
    }
    machine = {
        "processor": "A processor",
        "cores": 2,
        "instructions": ["avx2"],
        "memory_gb": 8.0,
        "python": "3.11.0",
        "packages": {"jax": "0.10.2"},
        "time": "2026-01-01T00:00:00+00:00",
    }
    return {
        "schema": compare.SCHEMA,
        "machine": machine,
        "commit": "abc1234",
        "workload": {"config": "c", "text": "Hello.", "frames": 40, "runs": 3},
        "results": compare.summarise(list(cases), cases),
        "skipped": [{"engine": "sherpa-onnx", "reason": "a reason"}],
    }


def test_a_result_holds_medians_and_the_runs_beside_them():
    result = _report()["results"][0]
    assert result["rtf"] == 9.0
    assert [run["rtf"] for run in result["runs"]] == [8.0, 9.0, 10.0]
    wanted = {"engine", "precision", "threads", "rtf", "first_audio_ms", "load_s", "peak_rss_mb"}
    assert wanted | {"cpu_s_per_audio_s", "runs", "batch"} <= result.keys()


def test_cases_cover_every_precision_and_name_what_is_skipped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engines.Engine, "installed", property(lambda self: self.name != "ptts"))
    cases, skipped = compare.choose_cases([], [1, 2], full_size=True)
    assert Case("pocket_tts_jax.litert", "mixed", 1) in cases
    assert Case("pocket_tts_jax.jax", "fp32", 2, 16) in cases
    reasons = {entry["engine"]: entry["reason"] for entry in skipped}
    assert "pip install ptts==0.4.2" in reasons["ptts"]
    assert "sherpa-onnx" in reasons


def test_only_the_engines_asked_for_are_chosen():
    cases, skipped = compare.choose_cases(["pocket_tts_jax.jax"], [2], full_size=False)
    assert {case.engine for case in cases} == {"pocket_tts_jax.jax"}
    assert not skipped


def test_runs_alternate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    order = []

    def run_once(case: Case, *_: object) -> dict:
        order.append(case.engine)
        return _run(1.0)

    monkeypatch.setattr(compare, "run_once", run_once)
    cases = [Case("a", "fp32", 1), Case("b", "fp32", 1), Case("c", "fp32", 1)]
    found = compare.measure_all(cases, None, "text", runs=2)  # type: ignore[arg-type]
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert all(len(runs) == 2 for runs in found.values())  # the first round only warms up
    assert "warm-up" in capsys.readouterr().err


def test_the_table_names_machine_commit_and_what_is_missing():
    text = table.markdown(_report())
    assert "| pocket_tts_jax.litert | int8 | 2 | 9.00 | 100 ms |" in text
    assert "pocket_tts_jax.jax, batch of 16" in text
    assert "A processor" in text and "abc1234" in text and "Not measured: sherpa-onnx" in text


def test_the_readme_block_is_replaced_and_nothing_else():
    readme = f"before\n{table.START}\nold\n{table.END}\nafter\n"
    filled = table.fill(readme, "new")
    assert filled == f"before\n{table.START}\nnew\n{table.END}\nafter\n"
    assert table.fill(filled, "new") == filled


@pytest.mark.parametrize("readme", ["nothing", f"{table.END} {table.START}"])
def test_a_readme_without_the_block_is_refused(readme: str):
    with pytest.raises(ValueError, match="benchmarks:start"):
        table.fill(readme, "new")


def test_committed_reports_are_what_the_readme_shows():
    reports = sorted((ROOT / "benchmarks" / "results").glob("compare*.json"))
    if not reports:
        pytest.skip("no report is committed")
    for path in reports:
        report = json.loads(path.read_text(encoding="utf-8"))
        assert report["schema"] == compare.SCHEMA
        assert all(len(result["runs"]) >= 5 for result in report["results"])
        assert len(report["machine"]["processor"]) > 0 and report["commit"]


def test_targets_compare_with_the_best_rival():
    lines = targets.verdicts(_report())
    assert "met | LiteRT rtf / best rival: 2.25 (asked ≥ 2.0)" in lines
    assert "met | LiteRT first audio / best rival: 0.50 (asked ≤ 0.5)" in lines
    assert "met | JAX rtf / pocket-tts fp32: 1.50 (asked ≥ 1.3)" in lines
    assert "MISSED | LiteRT load / fastest rival: 1.00 (asked ≤ 0.3)" in lines


def test_targets_without_a_rival_are_not_claimed():
    report = _report() | {"results": _report()["results"][:1]}
    assert "not measured | LiteRT rtf / best rival" in targets.verdicts(report)


def test_plots_show_each_engine_once(tmp_path: Path):
    pytest.importorskip("matplotlib")
    paths = plots.write_plots(_report(), tmp_path)
    assert [path.name for path in paths] == ["rtf_memory.png", "latency.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    chosen = plots.best_of_each(_report()["results"])
    assert len(chosen) == 5 and all(result["batch"] == 1 for result in chosen)


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


def test_limits_are_measured():
    found = limits.measure_here(1, array_bytes=1 << 20, matrix=64)
    assert min(found.read_gb_s, found.copy_gb_s, found.matmul_gflop_s) > 0


def test_head_start_and_stalls():
    steady = [100.0, 170.0, 250.0]
    assert latency.head_start(steady) == 0 and latency.late_frames(steady) == 0
    delayed = [100.0, 230.0, 310.0, 390.0]  # one delay of 50 ms
    assert latency.head_start(delayed) == 50 and latency.late_frames(delayed) == 1


def test_percentiles_are_interpolated():
    assert latency.percentiles([1.0, 3.0]) == {
        "p50": 2.0,
        "p90": 2.8,
        "p95": 2.9,
        "p99": 2.98,
        "max": 3.0,
    }


def test_latency_report_separates_cold_from_warm():
    stream = {"first_audio_ms": 10.0, "total_ms": 30.0, "audio_ms": 240.0}
    stream |= {"arrivals_ms": [10.0, 20.0, 30.0]}
    process = {
        "load_ms": 5.0,
        "cold_first_audio_ms": 50.0,
        "cold_total_ms": 90.0,
        "streams": [stream, stream],
        "whole_ms": [24.0, 24.0],
    }
    report = latency.summarise([process, process])
    assert report["cold"]["first_audio_ms"]["p50"] == 50.0
    assert report["warm"]["streaming"]["gap_ms"]["p50"] == 10.0
    assert report["warm"]["sync"]["rtf"] == 10.0 and report["requests"] == 4


def test_a_leak_is_found_and_noise_is_not():
    def speak(seed: int) -> np.ndarray:
        return np.full(4, seed)

    sizes = iter(range(0, 100_000_000, 100))
    assert not soak.memory(speak, 200, resident=lambda: next(sizes))["passed"]
    assert soak.memory(speak, 200, resident=lambda: 5e5)["passed"]


def test_a_drifting_output_fails():
    calls = iter(range(1000))
    report = soak.memory(lambda _: np.array([next(calls)]), 5, resident=lambda: 5e5)
    assert report["different_outputs"] == 5 and not report["passed"]


def test_parallel_seeds_must_equal_serial_ones_and_differ():
    assert soak.parallel(lambda seed: np.array([seed]), 4)["passed"]
    assert not soak.parallel(lambda seed: np.array([0]), 4)["passed"]
    assert soak.parallel(lambda seed: np.array([0]), 4, noisy=False)["passed"]


@pytest.mark.parametrize("count", [50, 500, 4000])
def test_a_made_up_vocabulary_has_the_size_and_cuts_words(tmp_path: Path, count: int):
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path, count)
    tokenizer = load_tokenizer("tokenizers", path, count)
    assert len(set(pieces(count))) == count
    if count >= 500:
        assert tokenizer.decode(tokenizer.encode("We walked home.")) == "We walked home."


def test_ptts_is_told_the_published_widths():
    told = ptts_config(CONFIG)
    assert told["flow_lm"]["dim_feedforward"] == 4096
    assert told["mimi"]["ratios"] == [6, 5, 4]
    assert told["eos_threshold"] == engines.NEVER_ENDS


def test_the_worker_is_light_before_it_measures():
    code = (
        "import sys, benchmarks.worker; "
        "print([m for m in ('jax', 'torch', 'yaml', 'pocket_tts_jax') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
