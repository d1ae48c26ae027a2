"""What people look at: logs and their plot, the sample page, the data card."""

import json
import re

import numpy as np
import pytest

from training.command_line import clock
from training.data.card import data_card
from training.data.streams import FrameStream
from training.judging.recognition import Verdict
from training.loop.log import TrainingLog
from training.loop.trainer import Schedule
from training.plot import plot_logs, read_log


def test_log_averages_and_a_resumed_run_replaces_its_steps(tmp_path):
    for offset in (0.0, 10.0):
        log = TrainingLog(tmp_path / "run.jsonl", every=2)
        for step in range(4):
            log.add(step, 1e-3, {"map": step + offset})
    rows = read_log(tmp_path / "run.jsonl")
    assert [(row["step"], row["map"]) for row in rows] == [(2, 10.5), (4, 12.5)]


def test_progress_says_step_total_and_time_left(tmp_path, capsys):
    log = TrainingLog(tmp_path / "run.jsonl", every=2)
    log.begin(0, 1000)
    log.add(0, 1e-3, {"map": 1.0})
    first = capsys.readouterr().out
    assert "step 0 of 1000" in first and "1/1000" in first and "map 1.0" in first
    log.add(1, 1e-3, {"map": 1.0})
    assert re.search(r"2/1000 .* s a step, \d+:\d\d:\d\d left", capsys.readouterr().out)
    assert clock(3723.4) == "1:02:03"


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    log = TrainingLog(tmp_path / "run.jsonl", every=1)
    with pytest.raises(FloatingPointError, match="map is not finite at step 1"):
        log.add(0, 1e-3, {"map": float("nan")})


def test_the_log_takes_means_over_the_steps_that_had_a_term(tmp_path):
    log = TrainingLog(tmp_path / "run.jsonl", every=50)
    for step, distill in enumerate((None, None, 0.5, 0.7)):
        log.add(step, 1e-3, {"map": 1.0, "distill": distill, "align": None})
    log.flush()
    log.flush()
    (row,) = read_log(tmp_path / "run.jsonl")
    assert row["step"] == 4 and row["map"] == 1.0 and row["distill"] == 0.6
    assert "align" not in row


def test_plot_draws_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    line = {"step": 1, "rate": 0.1, "seconds_per_step": 1.0, "cpu_minutes": 0.1, "map": 0.5}
    later = line | {"step": 2, "distill": 0.1}
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(later) + "\n")
    plot_logs([tmp_path / "a.jsonl"], tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_page_holds_audio_text_and_verdict(tmp_path):
    pytest.importorskip("matplotlib")
    from training.judging.page import write_page

    verdict = Verdict(0.5, 0.2, ["one & two"], ["one <too>"], [1], 0, 0)
    tone = (0.1 * np.sin(np.arange(4800) / 10)).astype(np.float32)
    write_page(tmp_path / "page.html", [tone], ["One & two."], verdict, {"wer": 0.5})
    page = (tmp_path / "page.html").read_text()
    assert "One &amp; two." in page and "one &lt;too&gt;" in page
    assert "data:audio/wav;base64," in page and "data:image/png;base64," in page


def test_data_card_counts_hours_and_admits_unknown_sources(tmp_path):
    np.zeros(1920 * 454, np.int16).tofile(tmp_path / "a.pcm")
    rows = [("moby", False, 0, 229), ("attic", True, 229, 225)]
    (tmp_path / "a.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "text": "Ah.",
                    "source": source,
                    "held_out": held,
                    "first": first,
                    "frames": frames,
                    "speech": frames - 4,
                    "ends": None,
                }
            )
            + "\n"
            for source, held, first, frames in rows
        )
    )
    card = data_card([FrameStream(tmp_path, "a")])
    assert "| **all** | | 2 | 1 | 0.01 |" in card
    assert "public domain" in card and "unknown: not documented" in card


def test_data_card_of_own_recordings_names_no_teacher(tmp_path):
    np.zeros(1920 * 10, np.int16).tofile(tmp_path / "a.pcm")
    row = {"text": "Ah.", "source": "me", "held_out": False, "ends": None, "pieces": None}
    line = json.dumps(row | {"first": 0, "frames": 10, "speech": 6})
    (tmp_path / "a.jsonl").write_text(line + "\n")
    card = data_card([FrameStream(tmp_path, "a")])
    assert "| me | unknown" in card and "joe" not in card


def test_schedule_rises_stays_and_ends_at_zero():
    schedule = Schedule(100, 1.0, warmup=10, decay=20)
    assert schedule.rate(0) == 0.1 and schedule.rate(50) == 1.0
    assert schedule.rate(90) == 0.5 and schedule.rate(100) == 0.0
    assert Schedule(200, 1.0, warmup=10, decay=20).rate(90) == 1.0
