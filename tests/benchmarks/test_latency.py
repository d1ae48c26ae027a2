"""Processes that are timed: latency, soak, and what they import before the clock runs."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import app, child, engines, latency, soak, worker
from benchmarks.texts import TEXT
from pocket_tts_jax.jax_engine import setup
from tests.folders import ROOT


def test_a_batch_keeps_to_its_threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    order = []
    monkeypatch.setattr(setup, "limit_threads", order.append)
    monkeypatch.setattr(engines, "import_engine", order.append)
    monkeypatch.setattr(engines, "open_batch", lambda *_: lambda text: [np.zeros(240)] * 4)
    worker.measure_batch(1, tmp_path, "text", 4)
    assert order == [1, "pocket_tts_jax.jax"]


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
    stream |= {"arrivals_ms": [10.0, 21.0, 32.0]}
    cold = stream | {"first_audio_ms": 50.0, "total_ms": 95.0}
    streaming = {"load_ms": 5.0, "cold": cold, "streaming": [stream] * 2, "sync": [24.0] * 2}
    sync = {"load_ms": 7.0, "cold": 90.0, "streaming": [], "sync": []}
    streaming["verify_ms"] = sync["verify_ms"] = 1.0
    report = latency.summarise([streaming] * 2, [sync] * 2)
    assert report["cold"]["load_ms"]["p50"] == 6.0
    assert report["cold"]["verify_ms"]["p50"] == 1.0
    assert report["cold"]["sync"]["total_ms"]["p50"] == 90.0
    assert report["cold"]["streaming"]["first_audio_ms"]["p50"] == 50.0
    assert report["cold"]["streaming"]["total_ms"]["p50"] == 95.0
    gaps = report["warm"]["streaming"]["gap_ms"]
    assert gaps["p50"] == gaps["max"] == 11.0  # the first audio is no gap
    assert report["warm"]["sync"]["rtf"] == 10.0 and report["requests"] == 4


@pytest.mark.parametrize("first", [app.STREAMING, app.SYNC])
def test_the_first_request_of_a_process_is_of_the_kind_asked_for(
    monkeypatch: pytest.MonkeyPatch, first: str
):
    asked = []
    monkeypatch.setattr(app, "open_model", lambda options: ("model", "voice"))
    monkeypatch.setattr(app, "time_stream", lambda *_: asked.append(app.STREAMING))
    monkeypatch.setattr(app, "time_whole", lambda *_: asked.append(app.SYNC))
    app.measure(argparse.Namespace(first=first, text="text", requests=0))
    assert asked == [first]


def test_a_process_is_told_everything_that_latency_was(monkeypatch: pytest.MonkeyPatch):
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "{}", "")

    monkeypatch.setattr(child.subprocess, "run", run)
    told = ["--model", "m", "--engine", "jax", "--threads", "1", "--text", "t", "--voice", "v"]
    options = app.model_parser(None, TEXT).parse_args(told)
    latency.start_process(options, app.SYNC, 3)
    assert commands[0][:3] == [sys.executable, "-m", "benchmarks.app"]
    given = dict(zip(commands[0][3::2], commands[0][4::2], strict=True))
    assert given == dict(zip(told[::2], told[1::2], strict=True)) | {
        "--first": "sync",
        "--requests": "3",
    }


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


@pytest.mark.parametrize("engine", ["litert", "jax"])
def test_soak_passes_its_temperature_to_the_model(monkeypatch: pytest.MonkeyPatch, engine: str):
    from pocket_tts_jax.tts_model import TTSModel

    class Loaded:
        def __init__(self, **options: Any) -> None:
            self.temp = options["temp"]
            assert options["engine"] == engine and options["threads"] == 2

        def default_voice(self) -> str:
            return "voice"

        def get_state_for_audio_prompt(self, name: str) -> str:
            return name

    monkeypatch.setattr(TTSModel, "load_model", Loaded)
    arguments = ["--model", "m", "--engine", engine]
    options = soak.parse([*arguments, "--temperature", "0.7"])
    opened, voice = app.open_model(options, options.temperature)
    assert opened.temp == 0.7 and voice == "voice"
    assert soak.parse(arguments).temperature is None


def test_resident_memory_counts_what_is_held():
    before = soak.resident_kb()
    held = np.ones(50_000_000, np.uint8)
    assert 40_000 < soak.resident_kb() - before < 80_000
    assert held[-1] == 1


@pytest.mark.parametrize(
    ("name", "heavy"),
    [
        ("worker", ("jax", "torch", "yaml", "pocket_tts_jax")),
        ("app", ("jax", "torch", "yaml", "pocket_tts_jax", "numpy", "tokenizers")),
    ],
)
def test_a_process_is_light_before_it_measures(name: str, heavy: tuple[str, ...]):
    code = f"import sys, benchmarks.{name}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
