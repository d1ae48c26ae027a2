"""Plots of a report: speed against memory, and the arrival of each frame."""

import argparse
import json
from pathlib import Path
from typing import Any

FRAME_MS = 80
MARKERS = {1: "o", 2: "s"}


def write_plots(report: dict[str, Any], folder: Path) -> list[Path]:
    """`rtf_memory.png` and `latency.png` in `folder`."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"rtf_memory": speed_and_memory(report), "latency": frame_latency(report)}
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths


def speed_and_memory(report: dict[str, Any]) -> Any:
    """Real-time factor over peak memory; up and to the left is better."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    engines = sorted({r["engine"] for r in report["results"]})
    for r in report["results"]:
        if r["batch"] > 1:
            continue
        colour = f"C{engines.index(r['engine'])}"
        axes.plot(r["peak_rss_mb"], r["rtf"], MARKERS.get(r["threads"], "^"), color=colour)
        axes.annotate(
            f"{r['precision']} ×{r['threads']}",
            (r["peak_rss_mb"], r["rtf"]),
            xytext=(5, 3),
            textcoords="offset points",
            fontsize=7,
        )
    for i, engine in enumerate(engines):
        axes.plot([], [], "o", color=f"C{i}", label=engine)
    axes.set(xlabel="peak memory of the process, MB", ylabel="real-time factor (× threads)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.axhline(1, color="grey", linewidth=0.7)
    axes.legend()
    return figure


def frame_latency(report: dict[str, Any]) -> Any:
    """The arrival of each 80 ms frame, and its due time if playback starts with the first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    shown = [r for r in best_of_each(report["results"]) if r["arrivals_ms"]]
    for r in shown:
        label = f"{r['engine']} {r['precision']} ×{r['threads']}"
        axes.plot(range(len(r["arrivals_ms"])), r["arrivals_ms"], label=label)
    frames = max((len(r["arrivals_ms"]) for r in shown), default=1)
    axes.plot([0, frames], [0, frames * FRAME_MS], "k:", linewidth=0.8, label="real time")
    axes.set(xlabel="frame", ylabel="arrival after the text, ms", yscale="log")
    axes.legend(fontsize=8)
    return figure


def best_of_each(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each engine and precision the number of threads with the highest real-time factor."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for r in results:
        key = (r["engine"], r["precision"])
        if r["batch"] == 1 and (key not in best or r["rtf"] > best[key]["rtf"]):
            best[key] = r
    return list(best.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for the plots")
    options = parser.parse_args()
    report = json.loads(options.report.read_text(encoding="utf-8"))
    for path in write_plots(report, options.out):
        print(path)


if __name__ == "__main__":
    main()
