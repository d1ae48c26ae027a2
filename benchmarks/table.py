"""Writes a report of `benchmarks.compare` as a Markdown table, on request into the README.

`python -m benchmarks.table FILE.json [--readme README.md]` fills the block between
`<!-- benchmarks:start -->` and `<!-- benchmarks:end -->`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

START, END = "<!-- benchmarks:start -->", "<!-- benchmarks:end -->"
COLUMNS = (
    ("engine", "{engine}"),
    ("precision", "{precision}"),
    ("threads", "{threads}"),
    ("real-time factor", "{rtf:.2f}"),
    ("first audio", "{first_audio_ms:.0f} ms"),
    ("load", "{load_s:.2f} s"),
    ("import", "{import_s:.2f} s"),
    ("peak memory", "{peak_rss_mb:.0f} MB"),
    ("CPU s per audio s", "{cpu_s_per_audio_s:.2f}"),
)


def markdown(report: dict[str, Any]) -> str:
    """The table, with machine, workload and commit."""
    heads = [head for head, _ in COLUMNS]
    lines = [_row(heads), _row(["---"] * 2 + ["---:"] * (len(heads) - 2))]
    for result in report["results"]:
        cells = [form.format(**result) for _, form in COLUMNS]
        if result["batch"] > 1:
            cells[0] += f", batch of {result['batch']}"
        lines.append(_row(cells))
    return "\n".join([*lines, "", _caption(report), *_skipped(report), *_notes(report)])


def fill(readme: str, table: str) -> str:
    """`readme` with the table between the marks. Raises ValueError unless each is there once."""
    if (
        readme.count(START) != 1
        or readme.count(END) != 1
        or readme.index(START) > readme.index(END)
    ):
        raise ValueError(f"expected one {START} followed by one {END} in the README")
    before, rest = readme.split(START)
    return f"{before}{START}\n{table}\n{END}{rest.split(END)[1]}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _caption(report: dict[str, Any]) -> str:
    machine, work = report["machine"], report["workload"]
    packages = machine["packages"]
    names = ("jax", "ai-edge-litert", "torch", "pocket-tts", "ptts")
    versions = ", ".join(f"{name} {packages[name]}" for name in names if name in packages)
    return (
        f"{machine['processor']}, {machine['cores']} cores "
        f"({', '.join(machine['instructions']) or 'no vector extensions listed'}), "
        f"{machine['memory_gb']} GB; Python {machine['python']}, {versions}; commit "
        f"{report['commit']}, {machine['time'][:10]}. Medians of {work['runs']} runs, taken in "
        f"turns, each in a new process. Weights of `{work['config']}` size, {work['frames']} "
        f"frames of {work['text']!r}. Real-time factor: seconds of audio per second, higher is "
        "better. First audio: from text to the first samples in a warm process. Threads: the "
        "engine's own setting (for JAX, the processors it may use). Measured by `python -m "
        "benchmarks.compare`."
    )


def _skipped(report: dict[str, Any]) -> list[str]:
    if not report["skipped"]:
        return []
    return ["", *(f"Not measured: {s['engine']} ({s['reason']})." for s in report["skipped"])]


def _notes(report: dict[str, Any]) -> list[str]:
    """Remarks on a run that are recorded in its report."""
    return [line for note in report.get("notes", []) for line in ("", note)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--readme", type=Path, help="fill the block in this file")
    options = parser.parse_args()
    table = markdown(json.loads(options.report.read_text(encoding="utf-8")))
    if options.readme is None:
        print(table)
        return
    filled = fill(options.readme.read_text(encoding="utf-8"), table)
    options.readme.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    main()
