"""What the project promised itself, held against a report of `benchmarks.compare`.

`python -m benchmarks.targets FILE.json` prints one line per target: the ratio that was asked for,
the ratio that was measured, and whether it is met. Best means best over precisions and threads.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LITERT, JAX, REFERENCE = "pocket_tts_jax.litert", "pocket_tts_jax.jax", "pocket-tts"
QUANTISED = ("int8", "mixed", "int4")
Result = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """`measure` gives our figure over the other's; at least, or at most, `limit` is asked for."""

    name: str
    limit: float
    at_least: bool
    measure: Callable[["Results"], float]

    def verdict(self, results: "Results") -> str:
        try:
            value = self.measure(results)
        except ValueError:
            return f"not measured | {self.name}"
        met = value >= self.limit if self.at_least else value <= self.limit
        sign = "≥" if self.at_least else "≤"
        return (
            f"{'met' if met else 'MISSED'} | {self.name}: {value:.2f} (asked {sign} {self.limit})"
        )


class Results:
    """Best figures by engine and precision. ValueError where nothing was measured."""

    def __init__(self, results: list[Result]) -> None:
        self._results = results

    def best(
        self,
        field: str,
        engines: tuple[str, ...],
        precisions: tuple[str, ...] = (),
        batch: int = 1,
    ) -> float:
        found = [
            r[field]
            for r in self._results
            if r["engine"] in engines
            and (not precisions or r["precision"] in precisions)
            and r["batch"] == batch
        ]
        return max(found) if field == "rtf" else min(found)

    def ours(self, field: str) -> float:
        """Of the LiteRT configuration with the highest real-time factor, quantised."""
        return max(
            (r for r in self._results if r["engine"] == LITERT and r["precision"] in QUANTISED),
            key=lambda r: r["rtf"],
        )[field]

    def quickest(self, field: str) -> float:
        return self.best(field, (LITERT,), QUANTISED)

    def rival(self, field: str) -> float:
        return self.best(field, (REFERENCE, "ptts"))

    def jax(self, field: str) -> float:
        return self.best(field, (JAX,))

    def reference(self, field: str) -> float:
        return self.best(field, (REFERENCE,), ("fp32",))


TARGETS = (
    Target("JAX rtf / pocket-tts fp32", 1.3, True, lambda r: r.jax("rtf") / r.reference("rtf")),
    Target(
        "JAX first audio / pocket-tts fp32",
        0.8,
        False,
        lambda r: r.jax("first_audio_ms") / r.reference("first_audio_ms"),
    ),
    Target(
        "JAX warm process start / pocket-tts fp32",
        1.0,
        False,
        lambda r: r.jax("start_s") / r.reference("start_s"),
    ),
    Target(
        "JAX peak memory / pocket-tts fp32",
        0.7,
        False,
        lambda r: r.jax("peak_rss_mb") / r.reference("peak_rss_mb"),
    ),
    Target(
        "JAX batch of 16, aggregate rtf / pocket-tts fp32 single stream",
        3.0,
        True,
        lambda r: r.best("rtf", (JAX,), batch=16) / r.reference("rtf"),
    ),
    Target("LiteRT rtf / best rival", 2.0, True, lambda r: r.quickest("rtf") / r.rival("rtf")),
    Target(
        "LiteRT first audio / best rival",
        0.5,
        False,
        lambda r: r.quickest("first_audio_ms") / r.rival("first_audio_ms"),
    ),
    Target("LiteRT peak memory, MB", 250, False, lambda r: r.ours("peak_rss_mb")),
    Target(
        "LiteRT peak memory / leanest rival",
        0.35,
        False,
        lambda r: r.ours("peak_rss_mb") / r.rival("peak_rss_mb"),
    ),
    Target(
        "LiteRT load / fastest rival", 0.3, False, lambda r: r.ours("load_s") / r.rival("load_s")
    ),
    Target(
        "LiteRT fp32 rtf / pocket-tts fp32",
        1.5,
        True,
        lambda r: r.best("rtf", (LITERT,), ("fp32",)) / r.reference("rtf"),
    ),
)


def verdicts(report: dict[str, Any]) -> list[str]:
    """One line per target."""
    results = Results(report["results"])
    return [target.verdict(results) for target in TARGETS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    options = parser.parse_args()
    print("\n".join(verdicts(json.loads(options.report.read_text(encoding="utf-8")))))


if __name__ == "__main__":
    main()
