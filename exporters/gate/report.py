"""`report.json` and `REPORT.md`: the results of the gate."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from exporters.gate.gate import Check


def write_reports(folder: Path, title: str, checks: Sequence[Check]) -> None:
    """Write both forms into an export."""
    entries = [dataclasses.asdict(check) for check in checks]
    passed = all(check.passed for check in checks)
    data = {"title": title, "passed": passed, "checks": entries}
    (folder / "report.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    lines = [f"# {title}", "", summary(checks), "", "| where | what | value | limit | |"]
    lines.append("|---|---|---|---|---|")
    for c in checks:
        limit = "" if c.limit is None else f"{c.limit:.4g}"
        verdict = "" if c.limit is None else "ok" if c.passed else "FAILED"
        lines.append(f"| {c.where} | {c.what} | {c.value:.4g} | {limit} | {verdict} |")
    (folder / "REPORT.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def summary(checks: Sequence[Check]) -> str:
    """One line for all checks, and one for each that failed."""
    checks = [check for check in checks if check.limit is not None]
    failed = [check for check in checks if not check.passed]
    lines = [f"{len(checks) - len(failed)} of {len(checks)} checks passed."]
    lines += [f"FAILED {c.where}: {c.what} is {c.value:.4g}, limit {c.limit:.4g}" for c in failed]
    return "\n".join(lines)
