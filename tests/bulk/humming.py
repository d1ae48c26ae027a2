"""A speaker without a model, for the tests of what is around it; processes import it."""

import io
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocket_tts_jax.audio.write import write_audio
from pocket_tts_jax.bulk.rows import Row
from pocket_tts_jax.bulk.speaker import Failed, Result, Spoken, sha256_of

RATE = 24000


@dataclass(frozen=True)
class Humming:
    """Makes speakers. `notes` is a folder in which they note the rows that they begin.

    The text "fail" fails, "die" kills the process, and "die once" does so the first time.
    """

    notes: Path
    seconds: float = 0.0
    fails_to_load: str = ""

    def __call__(self) -> "HummingSpeaker":
        if self.fails_to_load == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails_to_load:
            raise ValueError(self.fails_to_load)
        return HummingSpeaker(self)


class HummingSpeaker:
    streams = 3

    def __init__(self, options: Humming) -> None:
        self._options = options

    def speak(self, row: Row) -> Result:
        note = self._options.notes / row.id
        begun = note.exists()
        with open(note, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        if row.text == "die" or (row.text == "die once" and not begun):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self._options.seconds)
        if row.text == "fail":
            return Failed(row, "it was to fail")
        return hum(row)


def hum(row: Row) -> Spoken:
    """Noise of the row's seed, as long as its text."""
    samples = np.random.default_rng(row.seed).uniform(-0.5, 0.5, 100 * len(row.text))
    samples = samples.astype(np.float32)
    file = io.BytesIO()
    write_audio(file, samples, RATE, format="flac")
    chunk = {"text": row.text, "frames": 3, "eos": row.text != "endless"}
    return Spoken(row, "hum", file.getvalue(), len(samples), RATE, sha256_of(samples), [chunk])


def humming_rows(count: int, text: str = "Text number") -> list[Row]:
    return [Row(i, f"row-{i}", f"{text} {i}", None, None, i, 1.0) for i in range(count)]
