"""The log of a run: one JSON line every few steps, and a progress line for whoever watches."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from training.command_line import clock


class TrainingLog:
    """Means of the terms over `every` steps, appended to `path` and printed. The first line comes
    after the first step, so that a run shows within seconds that it is alive."""

    def __init__(self, path: Path, every: int = 50) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._every = path, every
        self._rows, self._start = [], time.monotonic()
        self._cpu, self._steps = time.process_time(), 0
        self._compiling = True  # until the first step is done
        self._timed = 0  # of the rows, how many the clock does not cover

    def begin(self, step: int, steps: int) -> None:
        """Say where the run starts and where it ends."""
        self._steps = steps
        print(f"step {step} of {steps}; the first one compiles, for up to a minute", flush=True)

    def add(self, step: int, rate: float, terms: dict[str, Any]) -> None:
        """Notes the terms of one step; None is a term that this step did without."""
        self._rows.append(terms)
        self._step, self._rate = step, rate
        if self._compiling:
            self._show(self._means(), "compiled")
        if (step + 1) % self._every == 0:
            self.flush()
        if self._compiling:  # which says nothing about the time left
            self._compiling, self._start, self._timed = False, time.monotonic(), len(self._rows)

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
        seconds = (time.monotonic() - self._start) / max(1, len(self._rows) - self._timed)
        line = {"step": step + 1, "rate": rate, "seconds_per_step": round(seconds, 4)}
        line |= {"cpu_minutes": round((time.process_time() - self._cpu) / 60, 2)} | means
        with open(self._path, "a") as file:
            file.write(json.dumps(line) + "\n")
        left = seconds * max(0, self._steps - step - 1)
        self._show(means, f"{seconds:.2f} s a step, {clock(left)} left")
        self._rows, self._start, self._timed = [], time.monotonic(), 0

    def _show(self, means: dict[str, float], pace: str) -> None:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        total = f"/{self._steps}" if self._steps else ""
        print(f"{self._step + 1:7d}{total}  {pace}  rate {self._rate:.2e}  {shown}", flush=True)

    def _means(self) -> dict[str, float]:
        """Of each term over the steps that had it."""
        values: dict[str, list[np.ndarray]] = {}
        for row in self._rows:
            for name, term in row.items():
                if term is not None:
                    values.setdefault(name, []).append(np.asarray(term))
        return {name: float(np.mean(terms)) for name, terms in values.items()}
