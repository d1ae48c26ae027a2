"""A LiteRT export with the interface of `TTSModel`. Needs NumPy and LiteRT alone."""

from pathlib import Path

import numpy as np

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.files.cache import cache_folder
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.folder import open_folder
from pocket_tts_jax.speech_model import SamplingOptions, SpeechModel
from pocket_tts_jax.voice.load import VoiceLoader
from pocket_tts_jax.weights.source import ModelSource, Sidecar


class LiteRTSpeaker(SpeechModel):
    """An exported model in memory. The arguments are those of `TTSModel.load_model`.

    `threads` is how many threads a call computes with; `weight_cache` keeps packed weights in the
    user's cache folder. Raises CheckpointError for a damaged folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        threads: int = 2,
        weight_cache: bool = True,
        temp: float | None = None,
        sampler_decode_steps: int = 1,
        noise_clamp: float | None = None,
        eos_threshold: float | None = None,
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads must be 1 or more, got {threads}")
        export = open_folder(folder.expanduser())
        self.precision = export.precision
        self.engine = LiteRTEngine(
            export, threads=threads, cache_folder=cache_folder("packed") if weight_cache else None
        )
        self.engine.check_flow_steps(sampler_decode_steps)
        source = ModelSource(
            name=export.name,
            config=export.config,
            tokenizer=export.tokenizer()[1],
            load_tensors=_no_tensors,
            has_voice_cloning=self.engine.can_clone,
            sidecar=Sidecar.read(export.path),
            voices=export.path / "voices",
        )
        # Exports that do not say which weights they were made from take any voice that fits.
        fingerprint = export.manifest.get("fingerprint", "")
        # What a recording leaves behind depends on both files: the encoder alone is many models'.
        files = [f for f in ("mimi_encoder.tflite", "flow_lm.tflite") if export.has(f)]
        voices = VoiceLoader(
            source, self.engine, fingerprint, " ".join(export.sha256(file) for file in files)
        )
        options = SamplingOptions(temp, sampler_decode_steps, noise_clamp, eos_threshold)
        super().__init__(source, self.engine, voices, options)

    def warmup(self) -> None:
        """Pack the weights of all signatures; loading has done so already."""


def _no_tensors() -> dict[str, np.ndarray]:
    raise ConfigError("An export has no tensors to load: use the folder it was made from.")
