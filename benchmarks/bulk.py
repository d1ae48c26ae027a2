"""A corpus of short texts in several ways: hours of speech for each hour of a core.

The embedded voice speaks in all of them: `pocket-tts-jax synthesize`, a process of
`pocket-tts-jax generate` for each text, and a loop in one process of pocket-tts. The last two are
measured on the first texts of the corpus only. A core-hour is an hour in which a core may be used:
the wall time times the threads that a way is allowed.
"""

import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

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
start = time.perf_counter()
samples = sum(model.generate_audio(voice, text).shape[-1] for text in texts)
print(json.dumps([samples / model.sample_rate, time.perf_counter() - start]))
"""


def speak_corpus(corpus: Path, reference: Path | None) -> list[dict[str, Any]]:
    """A row of figures for each way; the hashes of 1 and 2 workers must be equal."""
    rows = [row for row in read_rows(corpus) if isinstance(row, Row)]
    with tempfile.TemporaryDirectory() as name:
        found, hashes = [], []
        for workers in (1, 2):
            seconds, wall, sums = _synthesize(corpus, Path(name) / f"{workers}", workers)
            found.append(_figures("synthesize", workers, len(rows), seconds, wall))
            hashes.append(sums)
        found[-1]["equal_to_one_worker"] = hashes[0] == hashes[1]
        texts = [row.text for row in islice(rows, ALONE)]
        seconds, wall = _processes(texts, Path(name))
        found.append(_figures("a process for each text", 2, len(texts), seconds, wall))
    if reference is not None:
        texts = [row.text for row in islice(rows, IN_A_LOOP)]
        for threads in (1, 2):
            command = [str(reference), "-c", LOOP, json.dumps(texts), str(threads), str(EMBEDDED)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=EMBEDDED)
            seconds, wall = json.loads(done.stdout.splitlines()[-1])
            found.append(_figures("pocket-tts int8, loop", threads, len(texts), seconds, wall))
    return found


def _figures(way: str, cores: int, texts: int, seconds: float, wall: float) -> dict[str, Any]:
    return {
        "way": way,
        "cores": cores,
        "texts": texts,
        "audio_s": round(seconds, 1),
        "wall_s": round(wall, 1),
        "hours_per_core_hour": round(seconds / (wall * cores), 2),
    }


def _synthesize(corpus: Path, out: Path, workers: int) -> tuple[float, float, dict[str, str]]:
    """Seconds of audio, seconds it took with loading, and the hash of each row."""
    command = [sys.executable, "-m", "pocket_tts_jax", "synthesize", str(corpus)]
    start = time.perf_counter()
    subprocess.run([*command, "--out", str(out), "--workers", str(workers)], check=True)
    wall = time.perf_counter() - start
    lines = (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    seconds = sum(entry["seconds"] for entry in entries)
    return seconds, wall, {entry["id"]: entry["sha256"] for entry in entries}


def _processes(texts: list[str], folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "pocket_tts_jax", "generate"]
    files = [folder / f"{number}.wav" for number in range(len(texts))]
    start = time.perf_counter()
    for text, file in zip(texts, files, strict=True):
        subprocess.run([*command, text, "-o", str(file), "--quiet"], check=True)
    wall = time.perf_counter() - start
    return sum(soundfile.info(file).duration for file in files), wall
