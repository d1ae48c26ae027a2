"""Logs and figures: a line for each request, and no texts of users in them."""

import io
import json
import logging

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pocket_tts_jax.server.log import log_event, log_failure, set_up_logging
from tests.patience import PATIENCE, wait_until
from tests.server.running import Running

SECRET = "My grandmother's maiden name is Featherstonehaugh."


def logged(monkeypatch: pytest.MonkeyPatch, format: str, *, log_text: bool = False) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    set_up_logging(format, log_text=log_text)
    return stream


def test_json_lines(server: Running, monkeypatch: pytest.MonkeyPatch):
    stream = logged(monkeypatch, "json")
    body = {"input": SECRET, "response_format": "pcm"}
    seconds = (
        len(httpx.post(f"{server.address}/v1/audio/speech", json=body, timeout=PATIENCE).content)
        / 48000
    )
    wait_until(lambda: stream.getvalue().count("\n") == 1)
    httpx.post(f"{server.address}/v1/audio/speech", json=body | {"voice": SECRET}, timeout=PATIENCE)
    wait_until(lambda: stream.getvalue().count("\n") == 2)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["speech", "speech"]
    first, second = lines
    assert first["outcome"] == "done" and first["route"] == "openai"
    assert first["model"] == "embedded" and first["characters"] == len(SECRET)
    assert first["audio_seconds"] == pytest.approx(seconds, abs=0.001)
    assert 0 < first["first_audio_ms"] <= 1000 * first["seconds"] + 1
    assert second["outcome"] == "voice_not_found" and "first_audio_ms" not in second
    assert "Featherstonehaugh" not in stream.getvalue()


def test_warnings_that_quote_a_text(monkeypatch: pytest.MonkeyPatch):
    for log_text in (False, True):
        stream = logged(monkeypatch, "text", log_text=log_text)
        logging.getLogger("pocket_tts_jax.text.chunks").warning("A chunk is long: %r", SECRET)
        assert ("Featherstonehaugh" in stream.getvalue()) == log_text


def test_lines(monkeypatch: pytest.MonkeyPatch):
    stream = logged(monkeypatch, "text")
    log_event("speech", route="tts", seconds=1.5, model=None)
    log_failure(ValueError("no"))
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith(" info speech route=tts seconds=1.5")
    assert " error failure error=" in lines[1] and lines[-1].endswith("ValueError: no")


def test_figures(server: Running):
    def values() -> dict[str, float]:
        text = httpx.get(f"{server.address}/metrics", timeout=PATIENCE).text
        return {
            sample.name + "".join(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    before = values()
    body = {"input": "Hello there.", "response_format": "pcm"}
    data = httpx.post(f"{server.address}/v1/audio/speech", json=body, timeout=PATIENCE).content
    httpx.post(
        f"{server.address}/tts", data={"text": "Hello.", "voice_url": "nobody"}, timeout=PATIENCE
    )
    name = "pocket_tts_requests_totalvoice_not_foundtts"
    wait_until(lambda: values().get(name, 0.0) > before.get(name, 0.0))
    after = values()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert grown("pocket_tts_requests_totaldoneopenai") == 1
    assert grown("pocket_tts_requests_totalvoice_not_foundtts") == 1
    assert grown("pocket_tts_audio_seconds_total") == pytest.approx(len(data) / 48000)
    assert grown("pocket_tts_first_audio_seconds_count") == 1
    assert grown("pocket_tts_real_time_factor_count") == 1
    assert after["pocket_tts_running"] == after["pocket_tts_waiting"] == 0
    assert after["process_resident_memory_bytes"] > 10**7
