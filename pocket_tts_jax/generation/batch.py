"""Speaks many texts at once.

Chunks are independent: each starts from its voice, with noise of its own key. So the chunks of all
texts form one list of jobs, which the engine speaks together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pocket_tts_jax.generation.engine import Audio, Engine, Job
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.generation.stream import stream
from pocket_tts_jax.text.pauses import Pause
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState


@dataclass(frozen=True)
class Request:
    """One text of a batch: its chunks and pauses, its voice and its sampling options."""

    items: Iterable[Prompt | Pause]
    voice: VoiceState
    sampling: Sampling


def speak_requests(engine: Engine, requests: Sequence[Request]) -> list[Audio]:
    """The samples of each request. Row i equals a single run with its seed up to rounding."""
    sample_rate = engine.config.mimi.sample_rate
    parts: list[list[Audio | None]] = []
    jobs: list[tuple[Job, int, int]] = []  # with the places of its audio in `parts`
    for row, request in enumerate(requests):
        parts.append([])
        chunk = 0
        for item in request.items:
            if isinstance(item, Pause):
                parts[row].append(np.zeros(item.samples(sample_rate), np.float32))
                continue
            job = Job(chunk, item, request.voice, request.sampling)
            jobs.append((job, row, len(parts[row])))
            parts[row].append(None)
            chunk += 1
    spoken = engine.speak([job for job, _, _ in jobs])
    for (_, row, place), audio in zip(jobs, spoken, strict=True):
        parts[row][place] = audio
    return [np.concatenate([part for part in row if part is not None]) for row in parts]


def speak_together(engine: Engine, jobs: Sequence[Job], streams: int) -> list[Audio]:
    """The samples of each job, `streams` of them at the same time."""
    from concurrent.futures import ThreadPoolExecutor  # here: one stream starts without it

    def speak(job: Job) -> Audio:
        frames = stream(engine, job.voice, [job.prompt], job.sampling, first_chunk=job.chunk)
        return np.concatenate([np.empty(0, np.float32), *frames])

    with ThreadPoolExecutor(min(streams, len(jobs)) or 1, "pocket-tts batch") as pool:
        return list(pool.map(speak, jobs))
