"""The log of a run: one JSON line every few steps, and a progress line for whoever watches."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np


class TrainingLog:
    """Means of the terms over `every` steps, appended to `path` and printed."""

    def __init__(self, path: Path, every: int = 50) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._every = path, every
        self._rows, self._start = [], time.monotonic()
        self._cpu = time.process_time()

    def add(self, step: int, rate: float, terms: dict[str, Any]) -> None:
        """Notes the terms of one step; None is a term that this step did without."""
        self._rows.append(terms)
        self._step, self._rate = step, rate
        if (step + 1) % self._every == 0:
            self.flush()

    def flush(self) -> None:
        """Writes what has gathered; a term that is not finite stops the run with an error."""
        if not self._rows:
            return
        step, rate, means = self._step, self._rate, self._means()
        broken = [name for name, value in means.items() if not np.isfinite(value)]
        if broken:
            raise FloatingPointError(
                f"{', '.join(broken)} is not finite at step {step + 1}. Resume from the last "
                "checkpoint with a lower learning rate."
            )
        seconds = (time.monotonic() - self._start) / len(self._rows)
        line = {"step": step + 1, "rate": rate, "seconds_per_step": round(seconds, 4)}
        line |= {"cpu_minutes": round((time.process_time() - self._cpu) / 60, 2)} | means
        with open(self._path, "a") as file:
            file.write(json.dumps(line) + "\n")
        shown = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        print(f"{step + 1:7d}  {seconds:.2f} s  lr {rate:.2e}  {shown}", flush=True)
        self._rows, self._start = [], time.monotonic()

    def _means(self) -> dict[str, float]:
        """Of each term over the steps that had it."""
        values: dict[str, list[np.ndarray]] = {}
        for row in self._rows:
            for name, term in row.items():
                if term is not None:
                    values.setdefault(name, []).append(np.asarray(term))
        return {name: float(np.mean(terms)) for name, terms in values.items()}
