"""The options that several commands share, with the reference's names where it has them."""

from enum import StrEnum
from typing import Annotated

import typer


class EngineName(StrEnum):
    """Which engine computes."""

    auto = "auto"
    jax = "jax"
    litert = "litert"


_MODEL, _SAMPLING, _RUNNING = "Model", "Sampling", "Running"


def _model(*names: str, **settings: object) -> typer.models.OptionInfo:
    return typer.Option(*names, rich_help_panel=_MODEL, **settings)  # type: ignore[arg-type]


def _sampling(*names: str, **settings: object) -> typer.models.OptionInfo:
    return typer.Option(*names, rich_help_panel=_SAMPLING, **settings)  # type: ignore[arg-type]


def _running(*names: str, **settings: object) -> typer.models.OptionInfo:
    return typer.Option(*names, rich_help_panel=_RUNNING, **settings)  # type: ignore[arg-type]


Model = Annotated[
    str | None,
    _model(
        "--model",
        help="Folder of a model or of a LiteRT export, a weight file, or the hf:// address of an "
        "export. Default: the voice in this package.",
    ),
]
Language = Annotated[
    str | None,
    _model(
        "--language", help="One of Kyutai's models (see `models`), fetched from the Hub at first."
    ),
]
ConfigFile = Annotated[
    str | None, _model("--config", help="Model configuration: path, https:// or hf:// of a YAML.")
]
Checkpoint = Annotated[
    str | None,
    _model("--checkpoint", help="Weights (.safetensors) instead of those of the configuration."),
]
Engine = Annotated[
    EngineName,
    _model("--engine", help="auto takes litert where there is an export, and jax elsewhere."),
]
Quantize = Annotated[
    bool,
    _model(
        "--quantize/--no-quantize",
        help="Insist on a model in int8 or less; it is exported now if it was not before.",
    ),
]
Temperature = Annotated[
    float | None,
    _sampling("--temperature", "--temp", help="Variance of the noise. Default: the model's."),
]
DecodeSteps = Annotated[
    int, _sampling("--sampler-decode-steps", help="Steps of the flow head for each frame.")
]
LsdDecodeSteps = Annotated[
    int | None, _sampling("--lsd-decode-steps", hidden=True, help="Old name of the above.")
]
NoiseClamp = Annotated[float | None, _sampling("--noise-clamp", help="Largest noise, above 0.")]
EosThreshold = Annotated[
    float | None,
    _sampling("--eos-threshold", help="Logit above which speech ends. Default: the model's."),
]
FramesAfterEos = Annotated[
    int | None,
    _sampling("--frames-after-eos", help="80 ms frames kept after the end. Default: automatic."),
]
Seed = Annotated[
    int | None, _sampling("--seed", help="Same seed, same bytes. Default: another one each time.")
]
Device = Annotated[str, _running("--device", help="cpu, or gpu or tpu for JAX.")]
Threads = Annotated[
    int | None, _running("--threads", help="Most processors to use. Default: JAX all, LiteRT 2.")
]
Offline = Annotated[bool, _running("--offline", help="Never use the network.")]
NoCompilationCache = Annotated[
    bool,
    _running("--no-compilation-cache", help="Keep no compiled code or packed weights on disk."),
]
Quiet = Annotated[bool, _running("--quiet", "-q", help="Say nothing but errors.")]
Truncate = Annotated[
    bool,
    typer.Option(
        "--truncate/--no-truncate", help="Keep only the first 30 s of a recording as the voice."
    ),
]
