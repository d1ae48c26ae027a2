"""The LiteRT engine: an exported folder behind `generate.Engine`, with NumPy and LiteRT alone.

Sessions own their caches; models are shared. A session's caches are host buffers that LiteRT
reads in place, and into which the session writes the rows that a call returns.
"""

import re
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pocket_tts_jax import weight_cache
from pocket_tts_jax.errors import ConfigError, GenerationError, VoiceCloningUnavailable
from pocket_tts_jax.export_folder import ExportFolder, open_folder
from pocket_tts_jax.kv_cache import HostCache, from_halves
from pocket_tts_jax.litert_model import Call, LiteRTModel
from pocket_tts_jax.text import Prompt
from pocket_tts_jax.voices import VoicePrompt, VoiceState

_PREFILL = re.compile(r"prefill_(\d+)_c(\d+)")
_DECODE = re.compile(r"decode_(\d+)_c(\d+)")
_FRAMES = re.compile(r"(?:decode|encode)_(\d+)")
Sizes = dict[int, dict[int, str]]


class LiteRTEngine:
    """One exported model in memory. Thread-safe: calls of one model take turns.

    Args:
        folder: an export, opened or not.
        threads: how many threads a call computes with.
        cache_folder: where packed weights are kept between processes; None packs into memory.

    Raises:
        CheckpointError: the folder is damaged or of another version.
        GenerationError: LiteRT is not installed or cannot run the model.
    """

    def __init__(
        self,
        folder: ExportFolder | Path,
        *,
        threads: int = 2,
        cache_folder: Path | None = None,
    ) -> None:
        self.folder = folder if isinstance(folder, ExportFolder) else open_folder(folder)
        self.config = self.folder.config
        self.threads = threads
        self._cache_folder = cache_folder
        self.flow_lm = self._load("flow_lm.tflite")
        self.mimi = self._load("mimi_decoder.tflite")
        self._encoder: LiteRTModel | None = None
        self._encoder_lock = threading.Lock()
        self.prefills = _by_capacity(self.flow_lm, _PREFILL)
        self.decodes = _by_capacity(self.flow_lm, _DECODE)
        self.decoder_sizes = _by_size(self.mimi)
        self.bos = self.folder.constant("bos")

    @property
    def frame_size(self) -> int:
        return self.config.mimi.frame_size

    @property
    def sample_rate(self) -> int:
        return self.config.mimi.sample_rate

    @property
    def latent_dim(self) -> int:
        return self.config.latent_dim

    @property
    def can_clone(self) -> bool:
        """Whether the export has an encoder for recordings."""
        return self.folder.has("mimi_encoder.tflite")

    @property
    def flow_steps(self) -> tuple[int, ...]:
        """How often the flow head can run per frame."""
        return tuple(sorted({step for steps in self.decodes.values() for step in steps}))

    def start(self, voice: VoiceState, prompt: Prompt, flow_steps: int) -> "LiteRTLatents":
        """Prefill a chunk of text behind a voice.

        Raises ConfigError for a number of flow steps the export has no signature for, and
        GenerationError where voice and text do not fit the cache.
        """
        if flow_steps not in self.flow_steps:
            known = ", ".join(map(str, self.flow_steps))
            raise ConfigError(
                f"This export runs its flow head {known} times a frame, not {flow_steps}: choose "
                "one of these."
            )
        return LiteRTLatents(self, voice, prompt.ids, flow_steps)

    def decoder(self) -> "LiteRTDecoder":
        return LiteRTDecoder(self)

    def encode(self, audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "frames encoded"]:
        """Latents of a recording at the model's rate. VoiceCloningUnavailable without encoder."""
        encoder = self._open_encoder()
        ((size, name),) = _by_size(encoder).items()
        call, block = encoder.bind(name), size * self.frame_size
        states = [n for n in call.inputs if n in call.outputs]
        frames = -(-audio.size // self.frame_size)
        latents = []
        for start in range(0, audio.size, block):
            piece = audio[start : start + block]
            call.inputs["audio"][:] = 0
            call.inputs["audio"][0, : piece.size] = piece
            call.inputs["position"][0] = start // self.config.mimi.seanet.hop_length
            call()
            latents.append(call.outputs["latents"][0].copy())
            for state in states:
                call.inputs[state][...] = call.outputs[state]
        return np.concatenate(latents)[:frames]

    def voice_from_latents(self, encoded: Float[np.ndarray, "frames encoded"]) -> VoiceState:
        """The attention cache that a recording's latents leave behind."""
        call = self.flow_lm.bind("embed_voice")
        pieces, start = [], self.folder.constant("voice_start")
        if start is not None:
            pieces.append(start[None])
        length = call.inputs["latents"].shape[1]
        for begin in range(0, len(encoded), length):
            piece = encoded[begin : begin + length]
            call.inputs["latents"][0, : len(piece)] = piece
            call()
            pieces.append(call.outputs["embeddings"][0, : len(piece)].copy())
        return self._voice(np.concatenate(pieces), encoded)

    def voice_from_prompt(self, prompt: VoicePrompt) -> VoiceState:
        """The attention cache of a voice that is stored as embeddings."""
        return self.voice_from_embeddings(prompt.embeddings)

    def voice_from_embeddings(self, embeddings: Float[np.ndarray, "t d"]) -> VoiceState:
        """The attention cache that FlowLM's input embeddings leave behind."""
        # The graphs expect embeddings of mean zero, which makes no difference to the model.
        centred = embeddings - embeddings.mean(axis=-1, keepdims=True)
        return self._voice(centred, None)

    def embed_text(self, tokens: Sequence[int]) -> Float[np.ndarray, "t d"]:
        """Embeddings of token ids."""
        highest = self.config.flow_lm.lookup_table.n_bins
        if any(not 0 <= token <= highest for token in tokens):
            raise GenerationError(f"token ids must be from 0 to {highest}, got {list(tokens)}")
        call = self.flow_lm.bind("embed_text")
        length = call.inputs["tokens"].shape[1]
        pieces = []
        for begin in range(0, len(tokens), length):
            piece = tokens[begin : begin + length]
            call.inputs["tokens"][0, : len(piece)] = piece
            call()
            pieces.append(call.outputs["embeddings"][0, : len(piece)].copy())
        return np.concatenate(pieces)

    def prefill(self, cache: HostCache, embeddings: Float[np.ndarray, "t d"]) -> HostCache:
        """Append embeddings to a cache, in as few calls as possible; returns a larger cache where
        they need one."""
        cache = cache.grown(cache.position + len(embeddings), self.folder.capacities)
        while not self.prefills.get(cache.capacity):
            cache = cache.grown(cache.capacity + 1, self.folder.capacities)
        names, begin = self.prefills[cache.capacity], 0
        while begin < len(embeddings):
            left = len(embeddings) - begin
            size = min((n for n in names if n >= left), default=max(names))
            piece = embeddings[begin : begin + size]
            _run_prefill(self.flow_lm, names[size], cache, piece)
            begin += len(piece)
        return cache

    def close(self) -> None:
        """Free the models. Sessions still open raise GenerationError at their next call."""
        for model in (self.flow_lm, self.mimi, self._encoder):
            if model is not None:
                model.close()

    def _voice(self, embeddings: np.ndarray, latents: np.ndarray | None) -> VoiceState:
        cache = self.prefill(HostCache(self.config, self.folder.capacities[0]), embeddings)
        k, v = cache.rows()
        return VoiceState(from_halves(k), v, latents=latents)

    def _open_encoder(self) -> LiteRTModel:
        if not self.can_clone:
            raise VoiceCloningUnavailable(
                f"{self.folder.path} has no encoder for recordings: export it again with "
                "--with-encoder, or use one of its voices."
            )
        with self._encoder_lock:
            if self._encoder is None:
                self._encoder = self._load("mimi_encoder.tflite")
            return self._encoder

    def _load(self, name: str) -> LiteRTModel:
        path = self.folder.file(name)

        def load(cache: str) -> LiteRTModel:
            return LiteRTModel(path, threads=self.threads, weight_cache=cache)

        return weight_cache.load_with_cache(
            load, LiteRTModel.close, self.folder.sha256(name), self._cache_folder
        )


def run_prefix(engine: LiteRTEngine, tokens: Sequence[int]) -> "LiteRTLatents":
    """Speak without a voice, as test vectors do."""
    return LiteRTLatents(
        engine, None, tokens, engine.folder.manifest["generation"]["flow_steps"][0]
    )


class LiteRTLatents:
    """FlowLM at one place of one chunk: `generate.Latents`."""

    def __init__(
        self,
        engine: LiteRTEngine,
        voice: VoiceState | None,
        tokens: Sequence[int],
        flow_steps: int,
    ) -> None:
        self._engine, self.flow_steps = engine, flow_steps
        capacities = engine.folder.capacities
        cache = HostCache(engine.config, capacities[0])
        before = 0 if voice is None else voice.length
        cache = cache.grown(before + len(tokens) + 1, capacities)
        if voice is not None:
            cache.append_voice(voice)
        self._cache = engine.prefill(cache, engine.embed_text(tokens))
        self._latent = engine.bos
        self._call = self._bind()

    def step(self, noise: Float[np.ndarray, " z"]) -> tuple[Float[np.ndarray, " z"], float]:
        if self._cache.position == self._cache.capacity:
            self._cache = self._cache.grown(
                self._cache.position + 1, self._engine.folder.capacities
            )
            self._call = self._bind()
        call = self._call
        call.inputs["latent"][0] = self._latent
        call.inputs["noise"][0] = noise
        call.inputs["position"][0] = self._cache.position
        call()
        self._cache.append(call.outputs, 1)
        self._latent = call.outputs["next_latent"][0].copy()
        return self._latent, float(call.outputs["eos_logit"][0, 0])

    def _bind(self) -> Call:
        """The step over the present cache, or over the next larger one that has such a step."""
        capacities = self._engine.folder.capacities
        while self.flow_steps not in self._engine.decodes.get(self._cache.capacity, {}):
            self._cache = self._cache.grown(self._cache.capacity + 1, capacities)
        name = self._engine.decodes[self._cache.capacity][self.flow_steps]
        return self._engine.flow_lm.bind(name, self._cache.arrays)


class LiteRTDecoder:
    """Mimi's decoder at one place of one chunk: `generate.Decoder`.

    Its state alternates between two sets of buffers: what one call writes, the next one reads.
    """

    def __init__(self, engine: LiteRTEngine) -> None:
        self._engine = engine
        self._calls: dict[tuple[int, int], Call] = {}
        self._position, self._turn = 0, 0
        self._states = (engine.mimi.states(), engine.mimi.states())

    def decode(self, latents: Float[np.ndarray, "n z"]) -> Float[np.ndarray, " samples"]:
        pieces, begin = [], 0
        while begin < len(latents):
            left = len(latents) - begin
            size = max(n for n in self._engine.decoder_sizes if n <= left)
            pieces.append(self._decode(latents[begin : begin + size]))
            begin += size
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _decode(self, latents: Float[np.ndarray, "n z"]) -> Float[np.ndarray, " samples"]:
        key = len(latents), self._turn
        if key not in self._calls:
            before, after = self._states[self._turn], self._states[1 - self._turn]
            name = self._engine.decoder_sizes[len(latents)]
            self._calls[key] = self._engine.mimi.bind(name, before, after)
        call = self._calls[key]
        call.inputs["latents"][0] = latents
        call.inputs["position"][0] = self._position
        call()
        self._turn = 1 - self._turn
        self._position += len(latents) * self._engine.config.mimi.steps_per_frame
        return call.outputs["audio"][0].copy()


def _run_prefill(model: LiteRTModel, name: str, cache: HostCache, piece: np.ndarray) -> None:
    call = model.bind(name, cache.arrays)
    call.inputs["embeddings"][0, : len(piece)] = piece
    call.inputs["position"][0] = cache.position
    call()
    cache.append(call.outputs, len(piece))


def _by_capacity(model: LiteRTModel, pattern: re.Pattern[str]) -> Sizes:
    """{capacity: {number in the name: name}} of the signatures that match."""
    found: Sizes = {}
    for name in model.signatures:
        if match := pattern.fullmatch(name):
            found.setdefault(int(match[2]), {})[int(match[1])] = name
    return found


def _by_size(model: LiteRTModel) -> dict[int, str]:
    """{frames: name} of the signatures of one side of Mimi."""
    matches = ((_FRAMES.fullmatch(name), name) for name in model.signatures)
    return {int(match[1]): name for match, name in matches if match}
