"""The parts of both engines against the limits of the machine: `python -m benchmarks.step`.

Times each part (see `parts`) per engine, precision and number of threads, each in a process of its
own. Measures the machine's limits in the same run (see `limits`). Prints for each part the bytes
that it reads, its multiply-adds (see `roofline`), its floor, and the share of the limit that it
reaches. The arithmetic limit is that of float32: int8 products may exceed it on processors with
instructions for them (VNNI, AMX). Data in the processor's caches may exceed the memory limit.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.child import ask
from benchmarks.limits import Limits, measure_limits
from benchmarks.machine import commit, describe_machine
from benchmarks.parts import POSITIONS, REPEATS
from benchmarks.roofline import (
    PRECISIONS,
    Cost,
    flow_head_cost,
    flow_lm_cost,
    mimi_cost,
    step_cost,
)
from benchmarks.workload import (
    FULL_SIZE,
    QUICK_SIZE,
    Workload,
    default_folder,
    make_export,
    make_workload,
)
from pocket_tts_jax.config import Config

SCHEMA = 1
FRAME_MS = 80
# Frames in the largest decoder call of an engine during streaming.
AT_ONCE = {"pocket_tts_jax.litert": 4, "pocket_tts_jax.jax": 8}


def main() -> None:
    options = _parse()
    workload = make_workload(options.folder, QUICK_SIZE if options.quick else FULL_SIZE)
    config, rows = workload.config, []
    limits = {n: measure_limits(n) for n in options.threads}
    for engine, precision in options.engines:
        if engine == "litert":
            make_export(workload, precision)
        for threads in options.threads:
            parts = time_parts(workload, engine, precision, threads, options.repeats)
            rows += [
                describe(engine, precision, threads, part, ms, config, limits[threads])
                for part, ms in parts.items()
            ]
    report = {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "commit": commit(),
        "limits": [asdict(limit) for limit in limits.values()],
        "parts": rows,
    }
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))


def time_parts(
    workload: Workload, engine: str, precision: str, threads: int, repeats: int
) -> dict[str, float]:
    """{part: ms} of one engine, in a new process."""
    arguments = ["--folder", workload.path, "--engine", engine, "--precision", precision]
    arguments += ["--threads", threads, "--repeats", repeats]
    what = f"{engine} {precision}"
    return ask("benchmarks.parts", arguments, what, environment=workload.environment)


def describe(
    engine: str,
    precision: str,
    threads: int,
    part: str,
    ms: float,
    config: Config,
    limits: Limits,
) -> dict[str, Any]:
    """One row: the time of a part, its cost, and its share of the machine's limit."""
    cost = part_cost(part, config, precision)
    floor = cost.floor_ms(limits)
    return {
        "engine": f"pocket_tts_jax.{engine}",
        "precision": precision,
        "threads": threads,
        "part": part,
        "ms": ms,
        "mb": round(cost.bytes / 1e6, 2),
        "multiply_adds_m": round(cost.multiply_adds / 1e6, 2),
        "floor_ms": round(floor, 3),
        "share": round(floor / ms, 3) if ms > 0 else None,
        "gb_s": round(cost.bytes / ms / 1e6, 2) if ms > 0 else None,
        "gflop_s": round(2 * cost.multiply_adds / ms / 1e6, 1) if ms > 0 else None,
    }


def part_cost(part: str, config: Config, precision: str) -> Cost:
    """The cost of a part by its name in `parts`."""
    kind, _, count = part.partition(" ")
    if kind == "prefill":
        return flow_lm_cost(config, precision, int(count), POSITIONS)
    if kind == "step":
        return step_cost(config, precision, POSITIONS)
    if kind == "head":
        return flow_head_cost(config, precision)
    return mimi_cost(config, precision, int(count))


def table(report: dict[str, Any]) -> str:
    """Limits, the roofline, and the floor of a whole frame per precision."""
    lines = ["| threads | read GB/s | copy GB/s | matmul GFLOP/s |", "|---:|---:|---:|---:|"]
    for limit in report["limits"]:
        lines.append("| {threads} | {read_gb_s} | {copy_gb_s} | {matmul_gflop_s} |".format(**limit))
    lines += ["", "| engine | precision | threads | part | ms | MB | M multiply-adds | floor ms |"]
    lines[-1] += " share of the limit |"
    lines.append("|---|---|---:|---|---:|---:|---:|---:|---:|")
    for row in report["parts"]:
        cells = "| {engine} | {precision} | {threads} | {part} | {ms:.2f} | {mb} |"
        cells += " {multiply_adds_m} | {floor_ms:.2f} | "
        share = "" if row["share"] is None else f"{row['share']:.0%}"
        lines.append(cells.format(**row) + share + " |")
    return "\n".join([*lines, "", *frame_lines(report["parts"])])


def frame_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The real-time factors of a step plus its share of a decoder call, run in sequence."""
    found: dict[tuple[str, str, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        key = (row["engine"], row["precision"], row["threads"])
        found.setdefault(key, {})[row["part"]] = row
    lines = []
    for (engine, precision, threads), parts in found.items():
        frames = AT_ONCE[engine]
        step, mimi = parts["step"], parts[f"mimi {frames}"]
        serial = step["ms"] + mimi["ms"] / frames
        floor = step["floor_ms"] + mimi["floor_ms"] / frames
        lines.append(
            f"{engine} {precision} ×{threads}: {serial:.2f} ms a frame, that is "
            f"{FRAME_MS / serial:.1f}× real time; floor {floor:.2f} ms, {FRAME_MS / floor:.1f}×"
        )
    return lines


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smallest model, few repeats")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--folder", type=Path, help="where the model is kept")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--threads", type=lambda x: [int(n) for n in x.split(",")], default=[1, 2])
    parser.add_argument("--precisions", type=lambda x: x.split(","), default=list(PRECISIONS))
    parser.add_argument("--no-jax", action="store_true", help="LiteRT alone")
    options = parser.parse_args()
    size = "quick" if options.quick else "full"
    options.folder = options.folder or default_folder(size)
    if options.quick:
        # The small model has too few weights for quantisation.
        options.precisions, options.threads = ["fp32"], options.threads[-1:]
    options.repeats = options.repeats or (5 if options.quick else REPEATS)
    options.engines = [("litert", precision) for precision in options.precisions]
    if not options.no_jax:
        options.engines.append(("jax", "fp32"))
    return options


if __name__ == "__main__":
    main()
