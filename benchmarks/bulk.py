"""A corpus of short texts in several ways: hours of speech for each hour of a core.

The embedded voice speaks in all of them: `pocket-tts-jax synthesize`, a process of
`pocket-tts-jax generate` for each text, and a loop in one process of pocket-tts. The last two are
measured on the first texts of the corpus only, the last without its loading. A core-hour is an hour
of processor time, of all threads and processes of a way.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import soundfile

from pocket_tts_jax.bulk.rows import Row, read_rows
from pocket_tts_jax.weights.source import EMBEDDED

ALONE = 10  # texts with a process each
IN_A_LOOP = 20
LOOP = """
import json, sys, time
import torch
from pocket_tts import TTSModel
texts, threads, folder = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)
sys.modules["torchao"] = None
model = TTSModel.load_model(config=folder + "/config.yaml", quantize=True)
voice = model.get_state_for_audio_prompt(folder + "/voices/joe.safetensors")
model.generate_audio(voice, texts[0])
start, cpu = time.perf_counter(), time.process_time()
samples = sum(model.generate_audio(voice, text).shape[-1] for text in texts)
took = time.perf_counter() - start, time.process_time() - cpu
print(json.dumps([samples / model.sample_rate, *took]))
"""


def speak_corpus(corpus: Path, reference: Path | None) -> list[dict[str, Any]]:
    """A row of figures for each way; the hashes of 1 and 2 workers must be equal."""
    rows = [row for row in read_rows(corpus) if isinstance(row, Row)]
    with tempfile.TemporaryDirectory() as name:
        found, hashes = [], []
        for workers in (1, 2):
            with _Clock() as clock:
                out = _synthesize(corpus, Path(name) / f"{workers}", workers)
            seconds, sums = _spoken(out)
            found.append(_figures("synthesize", workers, len(rows), seconds, clock.took))
            hashes.append(sums)
        found[-1]["equal_to_one_worker"] = hashes[0] == hashes[1]
        texts = [row.text for row in islice(rows, ALONE)]
        with _Clock() as clock:
            seconds = _processes(texts, Path(name))
        found.append(_figures("a process for each text", 2, len(texts), seconds, clock.took))
    if reference is not None:
        texts = [row.text for row in islice(rows, IN_A_LOOP)]
        for threads in (1, 2):
            command = [str(reference), "-c", LOOP, json.dumps(texts), str(threads), str(EMBEDDED)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=EMBEDDED)
            seconds, *took = json.loads(done.stdout.splitlines()[-1])
            found.append(_figures("pocket-tts int8, loop", threads, len(texts), seconds, took))
    return found


class _Clock:
    """Wall time and processor time of the processes that end within the block, in seconds."""

    def __enter__(self) -> Self:
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.took = [now - start for now, start in zip(self._now(), self._start, strict=True)]

    def _now(self) -> tuple[float, float]:
        times = os.times()
        return time.perf_counter(), times.children_user + times.children_system


def _figures(
    way: str, threads: int, texts: int, seconds: float, took: Sequence[float]
) -> dict[str, Any]:
    wall, cpu = took
    return {
        "way": way,
        "threads": threads,
        "texts": texts,
        "audio_s": round(seconds, 1),
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "hours_per_core_hour": round(seconds / cpu, 2),
    }


def _synthesize(corpus: Path, out: Path, workers: int) -> Path:
    command = [sys.executable, "-m", "pocket_tts_jax", "synthesize", str(corpus)]
    subprocess.run([*command, "--out", str(out), "--workers", str(workers)], check=True)
    return out


def _spoken(out: Path) -> tuple[float, dict[str, str]]:
    """Seconds of audio in a folder, and the hash of each row."""
    lines = (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    seconds = sum(entry["seconds"] for entry in entries)
    return seconds, {entry["id"]: entry["sha256"] for entry in entries}


def _processes(texts: list[str], folder: Path) -> float:
    """Seconds of audio of texts with a process each."""
    command = [sys.executable, "-m", "pocket_tts_jax", "generate"]
    files = [folder / f"{number}.wav" for number in range(len(texts))]
    for text, file in zip(texts, files, strict=True):
        subprocess.run([*command, text, "-o", str(file), "--quiet"], check=True)
    return sum(soundfile.info(file).duration for file in files)
