"""Figures of one evaluation, each with its interval, and the difference to another evaluation."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import TrainingError
from training.judging.intervals import Interval, difference, ratio
from training.judging.naturalness import Naturalness
from training.judging.recognition import Verdict

# In figures: the amounts of each sentence whose sum counts, and what that sum is divided by.
MEASURES = {"wer": ("wrong", "words"), "p808": ("p808", None), "overall": ("overall", None)}


def per_sentence(
    verdict: Verdict | None, opinions: Naturalness | None, every: int
) -> dict[str, list]:
    """What each sentence contributes; opinions are those of every `every`-th one."""
    each: dict[str, list] = {}
    if verdict is not None:
        each["wrong"] = verdict.errors
        each["words"] = [len(reference.split()) for reference in verdict.references]
    if opinions is not None:
        each["every"] = [every]
        each["p808"] = [round(float(score), 4) for score in opinions.p808]
        each["overall"] = [round(float(score), 4) for score in opinions.overall]
    return each


def intervals(each: Mapping[str, list]) -> dict[str, Interval]:
    """Each measure that was taken, with its 95 % interval."""
    return {
        name: ratio(np.array(each[amount]), _sizes(each, amount, size))
        for name, (amount, size) in MEASURES.items()
        if amount in each
    }


def differences(line: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Interval]:
    """This evaluation minus the other, sentence by sentence. TrainingError if they are not of the
    same sentences."""
    if line["texts"] != other["texts"] or line["each"].get("every") != other["each"].get("every"):
        raise TrainingError(
            "Only evaluations of the same sentences can be compared: give both the same --list, "
            "--sentences or --frames, --count and --naturalness."
        )
    each, before = line["each"], other["each"]
    return {
        name: difference(
            np.array(each[amount]), np.array(before[amount]), _sizes(each, amount, size)
        )
        for name, (amount, size) in MEASURES.items()
        if amount in each and amount in before
    }


def _sizes(each: Mapping[str, list], amount: str, size: str | None) -> np.ndarray:
    return np.array(each[size]) if size else np.ones(len(each[amount]))


def fingerprint_of(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_last_line(path: Path) -> dict[str, Any]:
    """The last evaluation that `append_line` wrote to the file."""
    try:
        line = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
        if {"texts", "each"} <= line.keys():
            return line
    except (ValueError, IndexError, AttributeError):
        pass
    raise TrainingError(f"{path} holds no evaluation. Give what training.evaluate --json wrote.")
