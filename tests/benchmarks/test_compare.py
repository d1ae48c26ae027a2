"""The comparison's cases, reports and ratios, on figures that are made up here."""

import json
from pathlib import Path

import pytest

from benchmarks import compare, engines, plots, ratios, table
from benchmarks.compare import Case
from tests.folders import ROOT

REPORT = ROOT / "benchmarks" / "results" / "compare.json"


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


def test_nothing_to_measure_ends_with_the_reasons(capsys: pytest.CaptureFixture):
    cases, skipped = compare.choose_cases(["sherpa-onnx"], [2], full_size=True)
    with pytest.raises(SystemExit) as stopped:
        compare.stop_without(cases, skipped)
    assert stopped.value.code == 2
    assert "- sherpa-onnx: its Pocket model cannot be made" in capsys.readouterr().err
    compare.stop_without([Case("ptts", "q4k", 2)], skipped)


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
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    assert report["schema"] == compare.SCHEMA
    assert all(len(result["runs"]) >= 5 for result in report["results"])
    assert len(report["machine"]["processor"]) > 0 and report["commit"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert table.fill(readme, table.markdown(report)) == readme


def test_ratios_compare_with_the_best_rival():
    lines = ratios.ratio_lines(_report())
    assert "LiteRT real-time factor / best rival: 2.25" in lines
    assert "LiteRT first audio / best rival: 0.50" in lines
    assert "JAX real-time factor / pocket-tts fp32: 1.50" in lines
    assert "LiteRT load / fastest rival: 1.00" in lines


def test_ratios_without_a_rival_are_not_claimed():
    report = _report() | {"results": _report()["results"][:1]}
    assert "LiteRT real-time factor / best rival: not measured" in ratios.ratio_lines(report)


def test_plots_show_each_engine_once(tmp_path: Path):
    pytest.importorskip("matplotlib")
    paths = plots.write_plots(_report(), tmp_path)
    assert [path.name for path in paths] == ["rtf_memory.png", "latency.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    chosen = plots.best_of_each(_report()["results"])
    assert len(chosen) == 5 and all(result["batch"] == 1 for result in chosen)
