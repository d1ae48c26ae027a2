"""Batches on JAX: one matrix product serves all rows, so the weights are read once for all.

Jobs of similar length share a batch. Each row has its own position, voice and end. Several devices
share the rows of a batch.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pocket_tts_jax.audio.timbre import shift_timbre
from pocket_tts_jax.generation.ending import ChunkReport, EndOfSpeech, fade_in, warn_of_limit
from pocket_tts_jax.generation.engine import Audio, Job
from pocket_tts_jax.generation.noise import chunk_key, noise
from pocket_tts_jax.jax_engine.functions import Network
from pocket_tts_jax.jax_engine.sizes import PREFIX_LENGTHS, bucket, capacity_for
from pocket_tts_jax.jax_engine.states import voice_state
from pocket_tts_jax.model import mimi
from pocket_tts_jax.model.flow_lm import FlowLMState

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # compiled batch sizes, for each device
DECODER_FRAMES = 2  # 8 are no faster and take a third more memory


def speak_sorted(network: Network, jobs: Sequence[Job]) -> list[Audio]:
    """The samples of each job; jobs of similar length are spoken together."""
    order = sorted(range(len(jobs)), key=lambda i: len(jobs[i].prompt.ids))
    spoken: dict[int, Audio] = {}
    most = network.most_rows * network.devices
    for start in range(0, len(order), most):
        places = order[start : start + most]
        audio = speak(network, [jobs[i] for i in places])
        spoken |= zip(places, audio, strict=True)
    return [spoken[i] for i in range(len(jobs))]


def speak(network: Network, jobs: Sequence[Job]) -> list[Audio]:
    """The samples of each job; all must have the same number of flow steps."""
    rows = network.devices * bucket(-(-len(jobs) // network.devices), ROWS)
    padded = [*jobs, *[jobs[-1]] * (rows - len(jobs))]
    with network.process:
        latents = _latents(network, padded)[: len(jobs)]
        spoken = _decode(network, latents, rows)
    timbres = [job.voice.timbre for job in jobs]
    return [
        audio if timbre is None else shift_timbre(audio, timbre)
        for audio, timbre in zip(spoken, timbres, strict=True)
    ]


def _prefilled(network: Network, jobs: Sequence[Job]) -> FlowLMState:
    """One state with the voice and text of every row."""
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
    state, tokens, lengths = _divided(network, (state, tokens, lengths))
    return network.functions.prefill_text(network.flow_lm_params, state, tokens, lengths)


def _divided(network: Network, rows: Any) -> Any:
    """A pytree of [rows, ...] arrays, divided among the devices if there are several."""
    return rows if network.rows is None else jax.device_put(rows, network.rows)


def _latents(network: Network, jobs: Sequence[Job]) -> list[Float[np.ndarray, "n z"]]:
    """Latents of each row up to its end. Rows that have ended are computed until all have ended,
    and their latents are dropped."""
    state, params, width = (
        _prefilled(network, jobs),
        network.flow_lm_params,
        network.config.latent_dim,
    )
    latent = jnp.broadcast_to(params["bos_emb"], (len(jobs), width))
    endings = [EndOfSpeech.of(job.sampling, job.prompt) for job in jobs]
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
        output, state = network.functions.step(
            params, state, latent, _divided(network, draws), jobs[0].sampling.flow_steps
        )
        latent = output.latent
        for i, (values, logit) in enumerate(
            zip(np.asarray(latent), np.asarray(output.eos_logit), strict=True)
        ):
            ended[i] = ended[i] or endings[i].reached(frame, float(logit))
            if not ended[i]:
                spoken[i].append(values)
                ended[i] = frame + 1 >= jobs[i].prompt.max_frames
        frame += 1
    for job, ending, frames in zip(jobs, endings, spoken, strict=True):
        eos = ending.eos_frame is not None
        warn_of_limit(
            ChunkReport(job.chunk, job.prompt.text, len(job.prompt.ids), len(frames), eos)
        )
    return [np.array(frames, np.float32).reshape(-1, width) for frames in spoken]


def _decode(
    network: Network, latents: Sequence[Float[np.ndarray, "n z"]], rows: int
) -> list[Audio]:
    """Decode the rows together, padded with zeros to the longest, and cut each to its length."""
    longest = bucket(max(len(x) for x in latents), (DECODER_FRAMES,))
    padded = np.zeros((rows, longest, network.config.latent_dim), np.float32)
    for row, x in zip(padded, latents, strict=False):
        row[: len(x)] = x
    state = mimi.init_decoder_state(network.config.mimi, rows)
    pieces = []
    for start in range(0, longest, DECODER_FRAMES):
        audio, state = network.functions.decode(
            network.flow_lm_params,
            network.mimi_params,
            state,
            _divided(network, padded[:, start : start + DECODER_FRAMES]),
        )
        pieces.append(np.asarray(audio))
    frame_size, sample_rate = network.config.mimi.frame_size, network.config.mimi.sample_rate
    whole = fade_in(np.concatenate(pieces, axis=1), sample_rate)
    return [row[: len(x) * frame_size] for row, x in zip(whole, latents, strict=False)]
