"""The LiteRT engine: an exported folder behind `Engine`, with NumPy and LiteRT alone.

Sessions own their caches; models are shared. A session's caches are host buffers that LiteRT
reads in place, and into which the session writes the rows that a call returns.
"""

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pocket_tts_jax.errors import ConfigError, VoiceCloningUnavailable
from pocket_tts_jax.generation.batch import speak_together
from pocket_tts_jax.generation.engine import Audio, Job, Workers
from pocket_tts_jax.litert_engine.flow_lm import LiteRTFlowLM, LiteRTLatents, group_of
from pocket_tts_jax.litert_engine.folder import ExportFolder, open_folder
from pocket_tts_jax.litert_engine.grouped_model import GroupedModel
from pocket_tts_jax.litert_engine.mimi import DecoderBuffers, LiteRTDecoder, encode, is_used
from pocket_tts_jax.litert_engine.packed_weights import packed_weights
from pocket_tts_jax.litert_engine.runtime import LiteRTModel, names_in
from pocket_tts_jax.litert_engine.turns import Turns
from pocket_tts_jax.shapes import Float
from pocket_tts_jax.text.prepare import Prompt
from pocket_tts_jax.voice.state import VoiceState


class LiteRTEngine:
    """One exported model in memory. Thread-safe: calls of one model take turns.

    Args:
        folder: an export, or its path.
        threads: number of threads that compute, over all sessions. FlowLM and the decoder use all
            of them, in turns: with half of them each, the first audio takes half as long again and
            speech as a whole takes no less.
        cache_folder: folder in which packed weights are kept; None packs into memory.
        workers: number of processes, of one thread each, that speak in place of this one: many
            streams gain by it, and a single one is slower. The packed weights in `cache_folder`
            are in memory once.

    Raises:
        ConfigError: `threads` is below 1.
        CheckpointError: the folder is damaged or of another version.
        GenerationError: LiteRT is not installed or cannot run the model.
    """

    name, device = "litert", "cpu"

    def __init__(
        self,
        folder: ExportFolder | str | Path,
        *,
        threads: int = 2,
        cache_folder: str | Path | None = None,
        workers: int = 0,
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads must be 1 or more, got {threads}")
        self.folder = folder if isinstance(folder, ExportFolder) else open_folder(folder)
        self.config, self.precision = self.folder.config, self.folder.precisions
        self.threads = threads
        self._cache_folder = None if cache_folder is None else Path(cache_folder)
        self._turns = Turns()
        self.flow_lm = LiteRTFlowLM(self._open_flow_lm(), self.folder, self._turns)
        self.mimi = self._open_mimi("mimi_decoder.tflite")
        self._decoder_buffers: list[DecoderBuffers] = []
        self._encoder: LiteRTModel | None = None
        self._encoder_lock = threading.Lock()
        self.workers: Workers | None = None
        if workers:
            from pocket_tts_jax.workers.crew import Crew  # here: most engines have none

            path = self.folder.path
            make = partial(LiteRTEngine, path, threads=1, cache_folder=cache_folder)
            self.workers = Crew(make, workers)

    @property
    def transformer_fingerprint(self) -> str:
        """Identifies the weights that a voice state belongs to."""
        return self.folder.manifest["fingerprint"]

    @property
    def weights_fingerprint(self) -> str:
        """Identifies the weights that make a voice from a recording. Several models share an
        encoder, so FlowLM is included."""
        files = [f for f in ("mimi_encoder.tflite", "flow_lm.tflite") if self.folder.has(f)]
        return " ".join(self.folder.sha256(file) for file in files)

    @property
    def speech_fingerprint(self) -> str:
        """Identifies the weights that samples depend on, as they are quantised."""
        return " ".join(self.folder.sha256(f) for f in ("flow_lm.tflite", "mimi_decoder.tflite"))

    @property
    def can_clone(self) -> bool:
        """Whether the export has an encoder for recordings."""
        return self.folder.has("mimi_encoder.tflite")

    @property
    def flow_steps(self) -> tuple[int, ...]:
        """The numbers of evaluations of the flow head per frame that the export has."""
        return self.flow_lm.flow_steps

    def start(self, voice: VoiceState | None, prompt: Prompt, flow_steps: int) -> LiteRTLatents:
        """Prefill the voice, if any, and a chunk of text.

        Raises ConfigError for a number of flow steps without a signature, and GenerationError if
        voice and text do not fit the cache.
        """
        self.check_flow_steps(flow_steps)
        return LiteRTLatents(self.flow_lm, voice, prompt.ids, flow_steps)

    def check_flow_steps(self, flow_steps: int) -> None:
        """Raise ConfigError for a number of flow steps without a signature."""
        if flow_steps not in self.flow_steps:
            known = ", ".join(map(str, self.flow_steps))
            raise ConfigError(
                f"This export runs its flow head {known} times a frame, not {flow_steps}: choose "
                "one of these for --sampler-decode-steps."
            )

    def decoder(self) -> LiteRTDecoder:
        return LiteRTDecoder(self.mimi, self.config, self._decoder_buffers)

    @property
    def batches(self) -> bool:
        """Whether streams at the same time share the steps of FlowLM."""
        return bool(self.folder.batches)

    def compute_whole_batches(self) -> int:
        """From now on, compute every step with the largest batch, padded where there are fewer
        streams. Then the samples of a stream are the same whatever runs beside it.

        Returns the number of streams in a batch. Raises ConfigError for an export without batches,
        and with workers.
        """
        if not self.batches:
            raise ConfigError(
                f"{self.folder.path} was exported without batched steps: export the model again "
                "(python -m exporters.tflite)."
            )
        if self.workers is not None:
            raise ConfigError("Whole batches are computed without workers: leave them out.")
        self.flow_lm.batcher.whole_blocks = True
        return max(self.folder.batches)

    def speak(self, jobs: Sequence[Job]) -> list[Audio]:
        """The samples of every job, in each worker as many at a time as the export has rows."""
        rows = max(self.folder.batches, default=1)
        return speak_together(self, jobs, rows * len(self.workers or [self]))

    def warmup(self, flow_steps: int, max_tokens: int) -> None:
        """Does nothing: loading has packed the weights of all signatures."""

    def encode(self, audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "frames encoded"]:
        """Latents of a recording at the model's rate. Raises VoiceCloningUnavailable without an
        encoder."""
        return encode(self._open_encoder(), self.config, audio)

    def voice_from_latents(self, encoded: Float[np.ndarray, "frames encoded"]) -> VoiceState:
        """The voice state of a recording's latents."""
        return self.flow_lm.voice(self.flow_lm.embed_voice(encoded), encoded)

    def voice_from_embeddings(self, embeddings: Float[np.ndarray, "t d"]) -> VoiceState:
        """The voice state of FlowLM's input embeddings."""
        # The graphs expect embeddings of mean zero; the mean has no effect in the model.
        centred = embeddings - embeddings.mean(axis=-1, keepdims=True)
        return self.flow_lm.voice(centred, None)

    def close(self) -> None:
        """Free the models and end the workers. Open sessions raise GenerationError at their next
        call."""
        if self.workers is not None:
            self.workers.close()
        for model in (self.flow_lm.model, self.mimi, self._encoder):
            if model is not None:
                model.close()

    def _open_encoder(self) -> LiteRTModel:
        if not self.can_clone:
            raise VoiceCloningUnavailable(
                f"{self.folder.path} has no encoder for recordings: export it again with "
                "--with-encoder, or use one of its voices."
            )
        with self._encoder_lock:
            if self._encoder is None:
                self._encoder = self._open_mimi("mimi_encoder.tflite")
            return self._encoder

    def _open_flow_lm(self) -> GroupedModel:
        path, cache = self._packed("flow_lm.tflite")
        model = GroupedModel(
            path,
            group_of(self.folder.capacities),
            threads=self.threads,
            weight_cache=cache,
            turns=self._turns,
        )
        model.open("embed_text")
        return model

    def _open_mimi(self, name: str) -> LiteRTModel:
        path, cache = self._packed(name)
        return LiteRTModel(
            path,
            threads=self.threads,
            weight_cache=cache,
            turns=self._turns,
            signatures=[signature for signature in names_in(path) if is_used(signature)],
        )

    def _packed(self, name: str) -> tuple[Path, str]:
        """A model file of the export, and where its packed weights are."""
        path = self.folder.intact(name)
        return path, packed_weights(path, self.folder.sha256(name), self._cache_folder)
