"""Our figures over the others', from a report of `benchmarks.compare`.

`python -m benchmarks.ratios FILE.json` prints them. Best means best over precisions and threads.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

LITERT, JAX, REFERENCE = "pocket_tts_jax.litert", "pocket_tts_jax.jax", "pocket-tts"
QUANTISED = ("int8", "mixed", "int4")  # as exported by default, with a decoder of float32
Result = dict[str, Any]


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


RATIOS: dict[str, Callable[[Results], float]] = {
    "LiteRT real-time factor / best rival": lambda r: r.quickest("rtf") / r.rival("rtf"),
    "LiteRT first audio / best rival": lambda r: (
        r.quickest("first_audio_ms") / r.rival("first_audio_ms")
    ),
    "LiteRT peak memory / leanest rival": lambda r: r.ours("peak_rss_mb") / r.rival("peak_rss_mb"),
    "LiteRT load / fastest rival": lambda r: r.ours("load_s") / r.rival("load_s"),
    "LiteRT fp32 real-time factor / pocket-tts fp32": lambda r: (
        r.best("rtf", (LITERT,), ("fp32",)) / r.reference("rtf")
    ),
    "JAX real-time factor / pocket-tts fp32": lambda r: r.jax("rtf") / r.reference("rtf"),
    "JAX first audio / pocket-tts fp32": lambda r: (
        r.jax("first_audio_ms") / r.reference("first_audio_ms")
    ),
    "JAX peak memory / pocket-tts fp32": lambda r: (
        r.jax("peak_rss_mb") / r.reference("peak_rss_mb")
    ),
    "JAX batch of 16, aggregate real-time factor / pocket-tts fp32, one stream": lambda r: (
        r.best("rtf", (JAX,), batch=16) / r.reference("rtf")
    ),
}


def ratio_lines(report: dict[str, Any]) -> list[str]:
    """One line for each ratio; those whose engines were not measured say so."""
    results = Results(report["results"])
    lines = []
    for name, measure in RATIOS.items():
        try:
            lines.append(f"{name}: {measure(results):.2f}")
        except ValueError:
            lines.append(f"{name}: not measured")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    options = parser.parse_args()
    print("\n".join(ratio_lines(json.loads(options.report.read_text(encoding="utf-8")))))


if __name__ == "__main__":
    main()
