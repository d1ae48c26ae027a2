"""Figures of many streams, from the times of their frames."""

import pytest

from benchmarks.throughput import CASES, FRAME_SECONDS, OURS, Case, summary


def test_figures_of_streams_that_keep_up():
    streams = [[begin, *(begin + 0.02 + 0.04 * i for i in range(10))] for begin in (5.0, 5.1)]
    figures = summary(streams)
    assert figures["rtf"] == pytest.approx(20 * FRAME_SECONDS / (0.1 + 0.02 + 9 * 0.04))
    assert figures["first_audio_p50_ms"] == pytest.approx(20)
    assert figures["late"] == 0


def test_a_frame_that_playback_waits_for_is_late():
    times = [0.0, 0.5, 0.5 + FRAME_SECONDS, 0.5 + 3 * FRAME_SECONDS, 0.5 + 3 * FRAME_SECONDS]
    assert summary([times])["late"] == 1 / 4  # the third frame; the fourth is in time again
    assert summary([times])["first_audio_p95_ms"] == 500


def test_all_engines_have_the_same_processors():
    for case in CASES:
        threads = case.workers or case.begun * case.threads  # a worker has one
        assert threads == 2 and (case.workers == 0 or case.engine == OURS)
    ours = Case(OURS, "int8", 2)
    assert (ours.begun, ours.workers) == (1, 2)
