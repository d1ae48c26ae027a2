"""The figures of /metrics, for Prometheus."""

import time
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_FACTORS = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 50.0, 80.0)


class Metrics:
    """The figures of one server. Names start with `pocket_tts_`; memory and files of the process
    have Prometheus's own names."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "pocket_tts_requests", "Requests for speech", ["route", "outcome"], registry=registry
        )
        self.running = Gauge("pocket_tts_running", "Requests being spoken", registry=registry)
        self.waiting = Gauge("pocket_tts_waiting", "Requests that wait", registry=registry)
        self.models = Gauge("pocket_tts_models_loaded", "Models in memory", registry=registry)
        self.audio = Counter("pocket_tts_audio_seconds", "Seconds of audio sent", registry=registry)
        self.first_audio = Histogram(
            "pocket_tts_first_audio_seconds",
            "From the whole request to the first bytes of audio, waiting included",
            buckets=_SECONDS,
            registry=registry,
        )
        self.real_time_factor = Histogram(
            "pocket_tts_real_time_factor",
            "Seconds of audio for each second of a request",
            buckets=_FACTORS,
            registry=registry,
        )

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)


@dataclass
class Timing:
    """The times of one request; `clock` in seconds."""

    route: str
    metrics: Metrics
    began: float = field(default_factory=time.perf_counter)
    first: float | None = None
    audio_seconds: float = 0.0

    def sent(self) -> None:
        """Note the time of the first audio."""
        if self.first is None:
            self.first = time.perf_counter() - self.began
            self.metrics.first_audio.observe(self.first)

    def finish(self, outcome: str) -> dict[str, object]:
        """Count the request. Returns its fields for the log."""
        seconds = time.perf_counter() - self.began
        self.metrics.requests.labels(self.route, outcome).inc()
        self.metrics.audio.inc(self.audio_seconds)
        if outcome == "done" and seconds > 0:
            self.metrics.real_time_factor.observe(self.audio_seconds / seconds)
        return {
            "route": self.route,
            "outcome": outcome,
            "seconds": round(seconds, 3),
            "audio_seconds": round(self.audio_seconds, 3),
            "first_audio_ms": None if self.first is None else round(1000 * self.first, 1),
        }
