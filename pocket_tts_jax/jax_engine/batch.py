"""Many texts at once: one matrix product serves all rows, where a single stream reads all the
weights for one row.

Chunks are independent of each other (each starts from its voice, its noise has its own key), so
the chunks of all texts form one list of jobs. Jobs of like length share a batch; its rows have
their own positions, voices and ends. Row i equals a single run up to float rounding.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.generation.sampling import Sampling
from pocket_tts_jax.generation.stream import (
    FADE_IN_SECONDS,
    ChunkReport,
    EosPolicy,
    Silence,
    warn_of_limit,
)
from pocket_tts_jax.jax_engine.engine import JaxEngine, voice_state
from pocket_tts_jax.jax_engine.sizes import PREFIX_LENGTHS, bucket, capacity_for
from pocket_tts_jax.model import mimi
from pocket_tts_jax.model.flow_lm import FlowLMState
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState

if TYPE_CHECKING:
    from pocket_tts_jax.text.pipeline import Item, TextOptions

ROWS = (1, 2, 4, 8, 16)  # compiled batch sizes
DECODER_FRAMES = 2  # 8 are no faster, and take a third more memory
Audio = Float[np.ndarray, " samples"]


@dataclass(frozen=True)
class Job:
    """One chunk of one text."""

    text: int
    chunk: int
    prompt: Prompt
    voice: VoiceState
    sampling: Sampling


class BatchModel(Protocol):
    """What batching needs of a `TTSModel`."""

    engine: JaxEngine

    def check_voice(self, voice: VoiceState) -> None: ...
    def prompts(
        self, text: str, max_tokens: int | None, options: "TextOptions | None"
    ) -> "Iterator[Item]": ...
    def sampling(self, seed: int | None) -> Sampling: ...


def generate_batch(
    model: "BatchModel",
    voices: Sequence[VoiceState],
    texts: Sequence[str],
    seeds: Iterable[int] | None = None,
    max_tokens: int | None = None,
    options: "TextOptions | None" = None,
) -> list[Audio]:
    """Speak `texts[i]` with `voices[i]` and `seeds[i]`; one array of samples per text."""
    seeds = [secrets.randbits(63) for _ in texts] if seeds is None else list(seeds)
    if not len(texts) == len(voices) == len(seeds):
        raise ConfigError(
            f"A batch needs one voice and one seed for each text: got {len(texts)} texts, "
            f"{len(voices)} voices and {len(seeds)} seeds."
        )
    for voice in voices:
        model.check_voice(voice)
    parts: list[list[Audio | None]] = [[] for _ in texts]
    jobs = []
    for i, (text, voice, seed) in enumerate(zip(texts, voices, seeds, strict=True)):
        chunk = 0
        for item in model.prompts(text, max_tokens, options):
            if isinstance(item, Silence):
                parts[i].append(np.zeros(item.samples, np.float32))
                continue
            jobs.append((Job(i, chunk, item, voice, model.sampling(seed)), len(parts[i])))
            parts[i].append(None)
            chunk += 1
    jobs.sort(key=lambda job: len(job[0].prompt.ids))
    for start in range(0, len(jobs), ROWS[-1]):
        batch = jobs[start : start + ROWS[-1]]
        for (job, place), audio in zip(
            batch, speak(model.engine, [job for job, _ in batch]), strict=True
        ):
            parts[job.text][place] = audio
    return [np.concatenate([p for p in row if p is not None]) for row in parts]


def speak(engine: JaxEngine, jobs: Sequence[Job]) -> list[Audio]:
    """The samples of each job, at most `ROWS[-1]` of them, with the same number of flow steps."""
    rows = bucket(len(jobs), ROWS)
    padded = [*jobs, *[jobs[-1]] * (rows - len(jobs))]
    latents = _latents(engine, padded)[: len(jobs)]
    return _decode(engine, latents, rows)


def _prefilled(engine: JaxEngine, jobs: Sequence[Job]) -> FlowLMState:
    """Every row's voice and text in one state."""
    longest = bucket(max(len(job.prompt.ids) for job in jobs), PREFIX_LENGTHS)
    voice = max(job.voice.length for job in jobs)
    frames = max(job.prompt.max_frames for job in jobs)
    capacity = capacity_for(voice + longest + frames)
    singles = [voice_state(job.voice, capacity) for job in jobs]
    state = jax.tree.map(lambda *xs: jnp.concatenate(xs), *singles)
    tokens = np.zeros((len(jobs), longest), np.int32)
    for row, job in zip(tokens, jobs, strict=True):
        row[: len(job.prompt.ids)] = job.prompt.ids
    lengths = np.array([len(job.prompt.ids) for job in jobs], np.int32)
    return engine.functions.prefill_text(engine.flow_lm_params, state, tokens, lengths)


def _latents(engine: JaxEngine, jobs: Sequence[Job]) -> list[Float[np.ndarray, "n z"]]:
    """Latents of each row up to its own end. Rows that ended go on unheard until all have."""
    state, params, width = _prefilled(engine, jobs), engine.flow_lm_params, engine.latent_dim
    latent = jnp.broadcast_to(params["bos_emb"], (len(jobs), width))
    policies = [_policy(job) for job in jobs]
    keys = [chunk_key(job.sampling.seed, job.chunk) for job in jobs]
    spoken: list[list[np.ndarray]] = [[] for _ in jobs]
    ended = [False] * len(jobs)
    frame = 0
    while not all(ended):
        draws = np.concatenate(
            [
                noise(k, frame, 1, width, job.sampling.temperature, job.sampling.noise_clamp)
                for k, job in zip(keys, jobs, strict=True)
            ]
        )
        output, state = engine.functions.step(
            params, state, latent, draws, jobs[0].sampling.flow_steps
        )
        latent = output.latent
        for i, (values, logit) in enumerate(
            zip(np.asarray(latent), np.asarray(output.eos_logit), strict=True)
        ):
            ended[i] = ended[i] or policies[i].ends(frame, float(logit))
            if not ended[i]:
                spoken[i].append(values)
                ended[i] = frame + 1 >= jobs[i].prompt.max_frames
        frame += 1
    for job, policy, frames in zip(jobs, policies, spoken, strict=True):
        eos = policy.eos_frame is not None
        warn_of_limit(
            ChunkReport(job.chunk, job.prompt.text, len(job.prompt.ids), len(frames), eos)
        )
    return [np.array(frames, np.float32).reshape(-1, width) for frames in spoken]


def _policy(job: Job) -> EosPolicy:
    tail = job.sampling.frames_after_eos
    return EosPolicy(
        job.sampling.eos_threshold, job.prompt.frames_after_eos if tail is None else tail
    )


def _decode(
    engine: JaxEngine, latents: Sequence[Float[np.ndarray, "n z"]], rows: int
) -> list[Audio]:
    """Decode the rows together, padded with zeros to the longest, and cut each to its length."""
    longest = bucket(max(len(x) for x in latents), (DECODER_FRAMES,))
    padded = np.zeros((rows, longest, engine.latent_dim), np.float32)
    for row, x in zip(padded, latents, strict=False):
        row[: len(x)] = x
    state = mimi.init_decoder_state(engine.config.mimi, rows)
    pieces = []
    for start in range(0, longest, DECODER_FRAMES):
        audio, state = engine.functions.decode(
            engine.flow_lm_params,
            engine.mimi_params,
            state,
            padded[:, start : start + DECODER_FRAMES],
        )
        pieces.append(np.asarray(audio))
    whole = np.concatenate(pieces, axis=1)
    fade = int(engine.sample_rate * FADE_IN_SECONDS)
    whole[:, :fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    return [row[: len(x) * engine.frame_size] for row, x in zip(whole, latents, strict=False)]
