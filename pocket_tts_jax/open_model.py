"""One model behind either engine, opened from what a command line says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pocket_tts_jax.engines import EngineName
from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.litert_engine.folder import is_export_folder

if TYPE_CHECKING:
    from pocket_tts_jax.speech_model import SpeechModel

Notice = Callable[[str], None]


@dataclass(frozen=True)
class ModelChoice:
    """Which model, and how it is run. `engine` None takes LiteRT for an export and else JAX."""

    language: str | None = None
    config: str | None = None
    model: Path | None = None
    checkpoint: str | None = None
    engine: EngineName | None = None
    device: str = "cpu"
    threads: int | None = None
    quantize: bool = False
    offline: bool = False
    compilation_cache: bool = True
    temp: float | None = None
    sampler_decode_steps: int = 1
    noise_clamp: float | None = None
    eos_threshold: float | None = None


def open_speaker(choice: ModelChoice, on_notice: Notice) -> "tuple[EngineName, SpeechModel]":
    """Load the model. ConfigError for options that do not go together or cannot be honoured."""
    if choice.device != "cpu":
        raise ConfigError(
            f"device {choice.device!r}: this version runs on the CPU, where it was tested and "
            "measured. Leave --device out."
        )
    if choice.model is not None:  # a shell leaves the ~ of --model=~/export as it is
        choice = replace(choice, model=choice.model.expanduser())
    exported = choice.model is not None and is_export_folder(choice.model)
    engine = choice.engine or (EngineName.litert if exported else EngineName.jax)
    if engine is EngineName.litert:
        return engine, _open_litert(choice, exported)
    if exported:
        raise ConfigError(
            f"{choice.model} is an export for LiteRT: leave --engine jax out, or name the folder "
            "that it was exported from."
        )
    return engine, _open_jax(choice, on_notice)


def _open_jax(choice: ModelChoice, on_notice: Notice) -> "SpeechModel":
    if choice.quantize:
        raise ConfigError(
            "The JAX engine computes in float32, because int8 products are slower than float32 "
            "ones on a CPU there. For int8 export the model with `python -m exporters.tflite "
            "--precision int8 --out FOLDER` and give --model FOLDER."
        )
    from pocket_tts_jax.jax_engine.jax_extra import require_jax

    require_jax()
    if choice.threads is not None:
        from pocket_tts_jax.jax_engine.threads import limit_threads

        limit_threads(choice.threads)
    import jax

    from pocket_tts_jax.jax_engine.compilation_cache import use_compilation_cache
    from pocket_tts_jax.tts_model import TTSModel
    from pocket_tts_jax.weights.source import open_source

    jax.config.update("jax_platforms", choice.device)
    if choice.compilation_cache:
        use_compilation_cache()
    source = open_source(
        language=choice.language,
        config=choice.config,
        model=choice.model,
        checkpoint=choice.checkpoint,
        offline=choice.offline,
        on_notice=on_notice,
    )
    return TTSModel(
        source,
        temp=choice.temp,
        sampler_decode_steps=choice.sampler_decode_steps,
        noise_clamp=choice.noise_clamp,
        eos_threshold=choice.eos_threshold,
    )


def _open_litert(choice: ModelChoice, exported: bool) -> "SpeechModel":
    given = [
        name for name in ("language", "config", "checkpoint") if getattr(choice, name) is not None
    ]
    if given or not exported or choice.model is None:
        raise ConfigError(
            "The LiteRT engine runs exported models: make one with `python -m exporters.tflite "
            "--out FOLDER`, and give --model FOLDER alone."
        )
    from pocket_tts_jax.litert_speaker import LiteRTSpeaker

    speaker = LiteRTSpeaker(
        choice.model,
        threads=2 if choice.threads is None else choice.threads,
        weight_cache=choice.compilation_cache,
        temp=choice.temp,
        sampler_decode_steps=choice.sampler_decode_steps,
        noise_clamp=choice.noise_clamp,
        eos_threshold=choice.eos_threshold,
    )
    if choice.quantize and speaker.precision in ("fp32", "fp16"):
        raise ConfigError(
            f"{choice.model} is an export in {speaker.precision}, which --quantize cannot change: "
            "export it again with --precision int8."
        )
    return speaker
