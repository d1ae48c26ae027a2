"""Plot the logs of runs: python -m training.plot run/flow_lm.jsonl run/mimi.jsonl --out loss.png"""

import json
from pathlib import Path

from training.command_line import command_parser, run_command

NOT_TERMS = {"step", "rate", "seconds_per_step", "cpu_minutes"}


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a log; where a resumed run repeats steps, the later line counts."""
    by_step = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        by_step[row["step"]] = row
    return [by_step[step] for step in sorted(by_step)]


def plot_logs(paths: list[Path], out: Path) -> None:
    """One panel a log, one curve a term that is not zero throughout."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(paths), 1, figsize=(9, 4 * len(paths)), squeeze=False)
    for path, panel in zip(paths, panels[:, 0], strict=True):
        rows = read_log(path)
        for name in sorted({name for row in rows for name in row} - NOT_TERMS):
            points = [(row["step"], row[name]) for row in rows if name in row]
            if any(value for _, value in points):
                panel.plot(*zip(*points, strict=True), label=name)
        panel.set(title=path.stem, xlabel="step", yscale="log")
        panel.legend()
    figure.tight_layout()
    figure.savefig(out)
    pyplot.close(figure)


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("logs", type=Path, nargs="+", help="NAME.jsonl of runs")
    parser.add_argument("--out", type=Path, default=Path("training.png"), help="picture")
    args = parser.parse_args()
    plot_logs(args.logs, args.out)
    print(args.out)


if __name__ == "__main__":
    run_command(main)
