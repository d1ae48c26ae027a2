"""The JAX engine: FlowLM and Mimi compiled for streaming, behind `Engine`.

All shapes come from short lists (prefix lengths, cache capacities, frames per decoder call, batch
sizes), so that usual texts compile nothing after a warm-up. Weights are arguments of the compiled
functions: all sessions of all threads share one copy.
"""

import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from pocket_tts_jax.config import MAX_TOKENS, Config
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.generation.engine import Audio, Job, Step
from pocket_tts_jax.generation.stream import SCHEDULE
from pocket_tts_jax.jax_engine.batch import speak_sorted
from pocket_tts_jax.jax_engine.functions import Functions, Network, Params, compiled_functions
from pocket_tts_jax.jax_engine.sizes import (
    CAPACITY_STEP,
    PREFIX_LENGTHS,
    capacity_for,
    chunk_positions,
    split_prefix,
)
from pocket_tts_jax.jax_engine.states import grow, voice_state
from pocket_tts_jax.model import flow_lm, mimi
from pocket_tts_jax.model.flow_lm import FlowLM
from pocket_tts_jax.model.mimi import Mimi
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState
from pocket_tts_jax.weights.alignment import Alignment, alignment_of
from pocket_tts_jax.weights.checkpoint import fingerprint, parameter_tree, release

ENCODER_FRAMES = 8  # per encoder call
MOST_ROWS = 16  # of a batch; beyond, a CPU is no faster and needs more memory
MOST_ROWS_OF_ACCELERATORS = 256
ENCODER = ("mimi.encoder.", "mimi.encoder_transformer.", "mimi.downsample.")


class JaxEngine:
    """One model in memory. Thread-safe: sessions have their own state, and weights never change."""

    name, precision, workers = "jax", "fp32", None

    def __init__(
        self,
        config: Config,
        tensors: dict[str, np.ndarray],
        alignment: Alignment | None = None,
        devices: Sequence[jax.Device] = (),  # pyright: ignore[reportInvalidTypeForm]
    ):
        """`alignment` None takes the heads that a model without a name gets. Several `devices`
        share the rows of batches, and single streams are computed by the first; without any JAX's
        default device computes."""
        self.alignment = alignment or alignment_of(config)
        self.transformer_fingerprint = fingerprint(tensors, "flow_lm.transformer.")
        self.weights_fingerprint = self.speech_fingerprint = fingerprint(tensors)
        lm = FlowLM.of(config, alignment_heads=self.alignment.heads)
        self.functions = compiled_functions(lm, Mimi(config.mimi))  # pyright: ignore
        self.process = self.functions.process
        self._encoder = {n: t for n, t in tensors.items() if n.startswith(ENCODER)}
        with self.process:
            used = {n: t for n, t in tensors.items() if n not in self._encoder}
            self.network = _network(config, self.functions, used, devices)
            # Of weights on several devices this is the first one's part, without a copy.
            first = (self.network.flow_lm_params, self.network.mimi_params)
            if len(devices) > 1:
                first = jax.tree.map(lambda x: x.addressable_shards[0].data, first)
        self.config, self.device = config, (devices or jax.devices())[0].platform
        self.flow_lm_params, self.mimi_params = first
        self._first_start = threading.Lock()  # is never released

    @cached_property
    def encoder_params(self) -> Params:
        """Mimi's encoder, a tenth of the model. It is read when the first recording is encoded."""
        return parameter_tree({n: _copied(t) for n, t in self._encoder.items()})["mimi"]

    def start(self, voice: VoiceState, prompt: Prompt, flow_steps: int) -> "JaxLatents":
        self.check_flow_steps(flow_steps)
        if self._first_start.acquire(blocking=False):
            # Not a daemon: the process waits for it before it ends, so that the code is kept.
            name = "pocket-tts compiling"
            threading.Thread(target=self._warm_decoder, name=name, daemon=False).start()
        with self.process:
            return JaxLatents(self, voice, prompt.ids, flow_steps)

    def check_flow_steps(self, flow_steps: int) -> None:
        """Raise ConfigError for a number of steps that this model's head would ignore."""
        kind = self.config.flow_lm.flow.type
        if kind in ("drifting", "pointwise") and flow_steps != 1:
            raise ConfigError(
                f"This model's {kind} head makes a latent in one step: leave "
                f"sampler_decode_steps at 1 (got {flow_steps})."
            )

    def decoder(self) -> "JaxDecoder":
        return JaxDecoder(self)

    def speak(self, jobs: Sequence[Job]) -> list[Audio]:
        """The samples of every job, computed in batches."""
        return speak_sorted(self.network, jobs)

    def close(self) -> None:
        """Does nothing: arrays are freed with the engine."""

    def encode(self, audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "frames encoded"]:
        """Latents of a recording at the model's rate, for `voice_from_latents`."""
        with self.process:
            return self._encode(audio)

    def _encode(self, audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "frames encoded"]:
        frames = -(-audio.size // self.config.mimi.frame_size)
        calls = -(-frames // ENCODER_FRAMES)
        block = ENCODER_FRAMES * self.config.mimi.frame_size
        padded = np.zeros((1, calls * block), np.float32)
        padded[0, : audio.size] = audio
        params = self.encoder_params
        state, latents = mimi.init_encoder_state(self.config.mimi, 1), []
        for i in range(calls):
            piece = padded[:, i * block : (i + 1) * block]
            encoded, state = self.functions.encode(params, state, piece)
            latents.append(np.asarray(encoded[0]))
        return np.concatenate(latents)[:frames]

    def voice_from_latents(self, encoded: Float[np.ndarray, "frames encoded"]) -> VoiceState:
        """The voice state of a recording's latents."""
        with self.process:
            embeddings = self.functions.embed_voice(self.flow_lm_params, encoded[None])
            voice = self.voice_from_embeddings(np.asarray(embeddings)[0])
        return VoiceState(voice.k, voice.v, latents=encoded)

    def voice_from_embeddings(self, embeddings: Float[np.ndarray, "t d"]) -> VoiceState:
        """The voice state of a prefix of FlowLM's input embeddings."""
        with self.process:
            return self._voice_from_embeddings(embeddings)

    def _voice_from_embeddings(self, embeddings: Float[np.ndarray, "t d"]) -> VoiceState:
        pieces = split_prefix(embeddings)
        capacity = capacity_for(sum(length for _, length in pieces))
        state = flow_lm.init_state(self.config.flow_lm, 1, capacity)
        for piece, length in pieces:
            padded = np.zeros((1, length, embeddings.shape[1]), np.float32)
            padded[0, : len(piece)] = piece
            count = np.full((1,), len(piece), np.int32)
            state = self.functions.prefill(self.flow_lm_params, state, padded, count)
        k, v = (
            np.stack([np.asarray(getattr(cache, name))[0] for cache in state.layers])
            for name in ("k", "v")
        )
        return VoiceState(k[:, :, : len(embeddings)], v[:, :, : len(embeddings)])

    def warmup(self, flow_steps: int = 1, max_tokens: int = MAX_TOKENS) -> None:
        """Compile every shape that chunks of `max_tokens` meet behind a voice of up to 30 s."""
        params, latent = self.flow_lm_params, np.zeros((1, self.config.latent_dim), np.float32)
        embeddings = np.zeros((1, self.config.flow_lm.transformer.d_model), np.float32)
        fresh = partial(voice_state, self.voice_from_embeddings(embeddings))
        read, full = map(capacity_for, chunk_positions(max_tokens, self.config.mimi.frame_rate))
        for capacity in range(CAPACITY_STEP, full + 1, CAPACITY_STEP):
            for length in PREFIX_LENGTHS if capacity <= read else ():
                tokens, count = np.zeros((1, length), np.int32), np.full((1,), length, np.int32)
                with self.process:
                    self.functions.prefill_text(params, fresh(capacity), tokens, count)
            with self.process:
                self.functions.step(params, fresh(capacity), latent, latent, flow_steps)
                if capacity < full:
                    grow(fresh(capacity))
        self._first_start.acquire(blocking=False)  # `start` need not compile the decoder any more
        self._warm_decoder()

    def _warm_decoder(self) -> None:
        """Compile Mimi's decoder; for the first text, in parallel with FlowLM."""
        for frames in sorted(set(SCHEDULE)):
            self.decoder().decode(np.zeros((frames, self.config.latent_dim), np.float32))


def _network(
    config: Config,
    functions: Functions,
    tensors: dict[str, np.ndarray],
    devices: Sequence[jax.Device],  # pyright: ignore[reportInvalidTypeForm]
) -> Network:
    every, rows = None, None
    if len(devices) > 1:
        mesh = Mesh(np.array(devices), ("rows",))
        every, rows = (
            NamedSharding(mesh, PartitionSpec()),
            NamedSharding(mesh, PartitionSpec("rows")),
        )
    tree = parameter_tree({n: _copied(t, every) for n, t in tensors.items()})
    is_cpu = not devices or devices[0].platform == "cpu"
    most_rows = MOST_ROWS if is_cpu else MOST_ROWS_OF_ACCELERATORS
    return Network(
        config,
        functions,
        tree["flow_lm"],
        tree["mimi"],
        most_rows=most_rows,
        rows=rows,
    )


def _copied(tensor: np.ndarray, where: NamedSharding | None = None) -> Any:
    """A copy on the device, or `where` it is wanted; the pages of the file are released."""
    # jnp.array would compile a copy for every shape
    array = jax.device_put(np.array(tensor), where)
    release(tensor)
    return array


class JaxLatents:
    """The latents of one chunk (`generation.engine.Latents`)."""

    def __init__(
        self, engine: JaxEngine, voice: VoiceState, tokens: Sequence[int], flow_steps: int
    ):
        self._process = engine.process
        self._params = engine.flow_lm_params
        self._step: Callable = partial(engine.functions.step, flow_steps=flow_steps)
        self._position = voice.length + len(tokens)
        self._text = slice(voice.length, self._position)
        pieces = split_prefix(tokens)
        end = voice.length + sum(length for _, length in pieces)
        capacity = capacity_for(max(end, self._position + 1))
        state = voice_state(voice, capacity)
        for piece, length in pieces:
            padded = np.zeros((1, length), np.int32)
            padded[0, : len(piece)] = piece
            count = np.full((1,), len(piece), np.int32)
            state = engine.functions.prefill_text(self._params, state, padded, count)
        self._state = state
        self._latent = np.asarray(self._params["bos_emb"])[None]  # JAX would compile the [None]

    def step(self, noise: Float[np.ndarray, " z"]) -> Step:
        with self._process:
            return self._run(noise)

    def _run(self, noise: Float[np.ndarray, " z"]) -> Step:
        if self._position == self._state.layers[0].k.shape[2]:
            self._state = grow(self._state)
        output, self._state = self._step(self._params, self._state, self._latent, noise[None])
        self._position += 1
        self._latent = output.latent
        # Copies: other threads free them, where the process does not wait (`OwnProcess`).
        latent, attention = (np.array(x)[0] for x in (output.latent, output.attention))
        logit = float(np.asarray(output.eos_logit)[0])
        return Step(latent, logit, attention[:, self._text])


class JaxDecoder:
    """Mimi's decoder within one chunk (`generation.engine.Decoder`)."""

    def __init__(self, engine: JaxEngine):
        self._params = engine.flow_lm_params, engine.mimi_params
        self._process = engine.process
        self._decode = engine.functions.decode
        with self._process:
            self._state = mimi.init_decoder_state(engine.config.mimi, 1)

    def decode(self, latents: Float[np.ndarray, "n z"]) -> Float[np.ndarray, " samples"]:
        with self._process:
            audio, self._state = self._decode(*self._params, self._state, latents[None])
            samples = np.asarray(audio)[0].copy()
            del audio  # while the process waits for this thread
        return samples
