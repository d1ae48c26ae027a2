"""Describes the machine of a measurement."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = (
    "jax",
    "flax",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "litert-converter",
    "numpy",
    "torch",
    "torchao",
    "pocket-tts",
    "ptts",
)
_INTERESTING = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def describe_machine() -> dict[str, Any]:
    """Processor, memory, system, versions and load average."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "instructions": _instructions(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def commit() -> str:
    """The commit that is measured, with "+" if the package has uncommitted changes."""
    root = Path(__file__).parents[1]
    head = _git(root, "rev-parse", "--short", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", "pocket_tts_jax", "exporters")
    return (head or "unknown") + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(root), *arguments]
        found = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return ""
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _instructions() -> list[str]:
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return [name for name in _INTERESTING if name in flags]


def _memory_gb() -> float | None:
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    return round(int(path.read_text().split("MemTotal:")[1].split()[0]) * 1024 / 1e9, 1)


def versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """{name: version} of the packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
