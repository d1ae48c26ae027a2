"""`TTSModel`: the reference's Python interface over the JAX engine.

The quick start of pocket-tts runs with the import changed; NumPy arrays take the place of
tensors, and a `VoiceState` that of the state dictionary. Generation never changes a voice.
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.jax_engine.engine import JaxEngine, check_flow_steps
from pocket_tts_jax.speech_model import Audio, SamplingOptions, SpeechModel
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.voice.cache import fingerprint
from pocket_tts_jax.voice.load import VoiceLoader
from pocket_tts_jax.voice.state import VoiceState, write_voice
from pocket_tts_jax.weights.source import ModelSource, open_source


class TTSModel(SpeechModel):
    """A text to speech model on JAX. Make one with `load_model`."""

    def __init__(
        self,
        source: ModelSource,
        *,
        temp: float | None = None,
        sampler_decode_steps: int = 1,
        noise_clamp: float | None = None,
        eos_threshold: float | None = None,
    ):
        check_flow_steps(source.config, sampler_decode_steps)
        tensors = source.load_tensors()
        fingerprints = fingerprint(tensors, "flow_lm.transformer."), fingerprint(tensors)
        self.engine = JaxEngine(source.config, tensors, source.alignment)
        options = SamplingOptions(temp, sampler_decode_steps, noise_clamp, eos_threshold)
        voices = VoiceLoader(source, self.engine, *fingerprints)
        super().__init__(source, self.engine, voices, options)

    @classmethod
    def load_model(
        cls,
        language: str | None = None,
        config: str | Path | None = None,
        temp: float | None = None,
        sampler_decode_steps: int = 1,
        noise_clamp: float | None = None,
        eos_threshold: float | None = None,
        quantize: bool = False,
        checkpoint: str | Path | None = None,
        lsd_decode_steps: int | None = None,
        *,
        model: str | Path | None = None,
        offline: bool = False,
        compilation_cache: bool = True,
    ) -> "TTSModel":
        """Load a model; without `language`, `config` or `model` the voice in this package.

        language: name of a published model ("english", "french_24l"), fetched from the Hub once.
        config: path, `https://` or `hf://` address of a YAML file.
        temp, sampler_decode_steps, noise_clamp, eos_threshold: see `SamplingOptions`.
        checkpoint: weights to use instead of those that `config` or `language` names.
        model: a folder, or the weight file in it (see `pocket_tts_jax.weights.source`).
        offline: never use the network.
        compilation_cache: keep compiled code in the user's cache folder, for the next process.

        Raises ConfigError, CheckpointError or DownloadError, each saying what to do. `quantize`
        belongs to the LiteRT engine and is refused here.
        """
        if quantize:
            raise ConfigError(
                "The JAX engine computes in float32: int8 products are slower than float32 ones "
                "on a CPU there. For a smaller, faster model use the LiteRT engine: "
                "`python -m exporters.tflite --precision int8`."
            )
        if lsd_decode_steps is not None:
            warnings.warn(
                "lsd_decode_steps is now called sampler_decode_steps",
                DeprecationWarning,
                stacklevel=2,
            )
            sampler_decode_steps = lsd_decode_steps
        if compilation_cache:
            from pocket_tts_jax.jax_engine.compilation_cache import use_compilation_cache

            use_compilation_cache()
        source = open_source(
            language=language, config=config, model=model, checkpoint=checkpoint, offline=offline
        )
        return cls(
            source,
            temp=temp,
            sampler_decode_steps=sampler_decode_steps,
            noise_clamp=noise_clamp,
            eos_threshold=eos_threshold,
        )

    @property
    def device(self) -> str:
        """Platform that the weights are on, such as "cpu"."""
        leaf = self.engine.flow_lm_params["bos_emb"]
        return next(iter(leaf.devices())).platform

    def generate_batch(
        self,
        voices: Sequence[VoiceState],
        texts: Sequence[str],
        *,
        seeds: Iterable[int] | None = None,
        max_tokens: int | None = None,
        text: TextOptions | None = None,
    ) -> list[Audio]:
        """Speak many texts at once, one voice each; row i equals a single run with its seed."""
        from pocket_tts_jax.jax_engine.batch import generate_batch

        return generate_batch(self, voices, texts, seeds, max_tokens, text)

    def warmup(self) -> None:
        """Compile all that generation runs, so that no request waits for it."""
        self.engine.warmup(self.sampler_decode_steps, self.source.sidecar.max_tokens)


def export_model_state(model_state: VoiceState, dest: str | Path) -> None:
    """Write a voice to a `.safetensors` file, which the reference reads back too."""
    write_voice(dest, model_state)
