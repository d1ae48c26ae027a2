"""Opens a model by its name, folder or address, with the engine that runs it.

Without a name it is the voice in this package. A model runs on LiteRT if it is an export or was
exported before (`pocket-tts-jax export`), and on JAX otherwise.
"""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pocket_tts_jax.errors import ConfigError
from pocket_tts_jax.files.cache import cache_folder
from pocket_tts_jax.files.hub import resolve
from pocket_tts_jax.jax_engine.setup import (
    find_devices,
    limit_threads,
    missing_packages,
    require_jax,
    use_compilation_cache,
)
from pocket_tts_jax.litert_engine.export_cache import ExportedModel
from pocket_tts_jax.litert_engine.folder import (
    MANIFEST,
    ExportFolder,
    is_export_folder,
    open_folder,
)
from pocket_tts_jax.weights.source import EMBEDDED, WEIGHTS, ModelSource, open_source

if TYPE_CHECKING:
    import numpy as np

    from pocket_tts_jax.generation.engine import Engine

_log = logging.getLogger(__name__)
Notice = Callable[[str], None]
DEFAULT_THREADS = 2  # with LiteRT
UNQUANTISED = ("fp32", "fp16")
DEVICES = ("cpu", "gpu", "tpu")
DEVICE_ALIASES = {"cuda": "gpu"}  # of PyTorch
_NO_WORKERS = "Only the LiteRT engine speaks in several processes: leave workers out."
ENGINES = ("auto", "jax", "litert")  # auto: litert where there is an export, else jax


@dataclass(frozen=True)
class OpenModel:
    """A model in memory, and its source."""

    source: ModelSource
    engine: "Engine"


@dataclass(frozen=True)
class ModelOptions:
    """Which model to open, and how to run it. At most one of `language`, `config` and `model`.

    language: name of a published model. config: path or address of a YAML file. model: a folder
    of a model or of an export, the weight file in it, or the `hf://` address of an export.
    checkpoint: weights to use instead of those that `config` or `language` names; alone, of
    "english". device: "cpu", or "gpu" or "tpu" for JAX on all devices of that kind. threads: None
    is all processors with JAX, and 2 with LiteRT. workers: processes of one thread each that speak
    in place of this one, with LiteRT. quantize: insist on int8 or less. compilation_cache: keep
    compiled code or packed weights in the user's cache folder.
    """

    language: str | None = None
    config: str | Path | None = None
    model: str | Path | None = None
    checkpoint: str | Path | None = None
    engine: str = "auto"
    device: str = "cpu"
    threads: int | None = None
    workers: int = 0
    quantize: bool = False
    offline: bool = False
    compilation_cache: bool = True

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"engine is one of {', '.join(ENGINES)}, got {str(self.engine)!r}.")
        object.__setattr__(self, "device", DEVICE_ALIASES.get(self.device, self.device))
        if self.device not in DEVICES:
            raise ConfigError(f"device is one of {', '.join(DEVICES)}, got {str(self.device)!r}.")
        if self.device != "cpu" and self.engine == "litert":
            raise ConfigError("LiteRT computes on the CPU: leave --device or --engine out.")
        if self.workers < 0:
            raise ConfigError(f"workers must be 0 or more, got {self.workers}.")
        if self.uses_jax and self.workers:
            raise ConfigError(_NO_WORKERS)
        if self.uses_jax and self.quantize:
            raise ConfigError(
                "The JAX engine computes in float32, because int8 products are slower than "
                "float32 ones on a CPU there. The LiteRT engine has int8: leave --engine and "
                "--device out."
            )
        if self.checkpoint is not None and not (self.language or self.config or self.model):
            object.__setattr__(self, "language", "english")  # the reference's default
        if self.model is not None and not _is_address(self.model):
            # A shell does not expand the ~ of --model=~/export.
            object.__setattr__(self, "model", Path(self.model).expanduser())

    @property
    def uses_jax(self) -> bool:
        """Whether the options leave no choice but JAX."""
        return self.engine == "jax" or self.device != "cpu"

    @property
    def exported(self) -> ExportedModel | None:
        """The export of this model by `pocket-tts-jax export`; None if it cannot be exported."""
        if self.config is not None or self.checkpoint is not None:
            return None
        if self.language is not None:
            return ExportedModel(language=self.language)
        if isinstance(self.model, Path) and (self.model / WEIGHTS).is_file():
            return ExportedModel(folder=self.model)
        return None


def open_model(options: ModelOptions, on_notice: Notice = _log.warning) -> OpenModel:
    """Load a model. `on_notice` gets lines for the user about downloads, exports and assumptions.

    Raises ConfigError for options that contradict each other or cannot be met, CheckpointError for
    damaged files, and DownloadError; each says what to do.
    """
    if options.uses_jax:
        return _open_jax(options, on_notice)
    export = _find_export(options, on_notice)
    if export is not None:
        return _open_litert(export, options, on_notice)
    if options.engine == "litert":
        raise ConfigError(_no_export(options))
    if options.workers:
        raise ConfigError(f"{_NO_WORKERS} {_no_export(options)}")
    if missing_packages():
        raise ConfigError(
            f"{_no_export(options)} Or install the JAX engine, which needs no export: pip install "
            "'pocket-tts-jax[jax]'."
        )
    if options.exported is not None:
        on_notice(
            "Speaking with JAX. LiteRT is several times as fast: `pocket-tts-jax export "
            f"{options.exported.option}` prepares this model for it, once."
        )
    return _open_jax(options, on_notice)


def _find_export(options: ModelOptions, on_notice: Notice) -> Path | None:
    """The folder of this model's export; it is fetched or (for `quantize`) made if necessary."""
    model = options.model
    if isinstance(model, str):
        return _fetch_export(model, options.offline, on_notice)
    if model is None and options.language is None and options.config is None:
        model = EMBEDDED
    if model is not None and is_export_folder(model):
        if options.checkpoint is not None:
            raise ConfigError(f"{model} is an export: --checkpoint goes with --config.")
        return model
    exported = options.exported
    if exported is None:
        return None
    found = exported.find()
    if options.quantize:
        found = [path for path in found if open_folder(path).precision not in UNQUANTISED]
        if not found:
            on_notice(f"Making the int8 export of this model ({exported.option}), once.")
            source = _source(options, on_notice)
            return exported.make(with_encoder=source.has_voice_cloning, quiet=True)
    return found[0] if found else None


def _open_litert(folder: Path, options: ModelOptions, on_notice: Notice) -> OpenModel:
    from pocket_tts_jax.litert_engine.engine import LiteRTEngine

    export = open_folder(folder)
    if options.quantize and export.precision in UNQUANTISED:
        raise ConfigError(
            f"{folder} is an export in {export.precision}, which --quantize cannot change: "
            "export the model again with --precision int8."
        )
    engine = LiteRTEngine(
        export,
        threads=DEFAULT_THREADS if options.threads is None else options.threads,
        cache_folder=cache_folder("packed") if options.compilation_cache else None,
        workers=options.workers,
    )
    source = dataclasses.replace(
        _export_source(export, engine.can_clone),
        published=options.language,
        offline=options.offline,
    )
    if source.settings.notice is not None:
        on_notice(source.settings.notice)
    return OpenModel(source, engine)


def _export_source(export: ExportFolder, can_clone: bool) -> ModelSource:
    def no_tensors() -> "dict[str, np.ndarray]":
        raise ConfigError("An export has no tensors to load: use the folder it was made from.")

    return ModelSource(
        name=export.name,
        config=export.config,
        tokenizer=export.tokenizer()[1],
        load_tensors=no_tensors,
        has_voice_cloning=can_clone,
        settings=export.settings,
        voices=export.path / "voices",
    )


def _open_jax(options: ModelOptions, on_notice: Notice) -> OpenModel:
    model = options.model
    if isinstance(model, str):
        raise ConfigError(f"{model} is the address of an export, which --engine jax cannot run.")
    if model is not None and is_export_folder(model) and not (model / WEIGHTS).is_file():
        raise ConfigError(
            f"{model} is an export for LiteRT: leave --engine jax out, or name the folder that it "
            "was exported from."
        )
    require_jax()
    if options.threads is not None:
        limit_threads(options.threads)
    devices = find_devices(options.device)
    if options.compilation_cache:
        use_compilation_cache()
    from pocket_tts_jax.jax_engine.engine import JaxEngine

    source = _source(options, on_notice)
    engine = JaxEngine(source.config, source.load_tensors(), source.alignment, devices)
    return OpenModel(source, engine)


def _source(options: ModelOptions, on_notice: Notice) -> ModelSource:
    return open_source(
        language=options.language,
        config=options.config,
        model=options.model,
        checkpoint=options.checkpoint,
        offline=options.offline,
        on_notice=on_notice,
    )


def _fetch_export(address: str, offline: bool, on_notice: Notice) -> Path:
    """Fetch every file of an export on the Hub, and verify them against the manifest."""
    location, at, revision = address.partition("@")

    def fetch(name: str) -> Path:
        source = f"{location.rstrip('/')}/{name}{at}{revision}"
        return resolve(source, what=f"the export's {name}", offline=offline, on_notice=on_notice)

    folder = fetch(MANIFEST).parent
    for name in ExportFolder.files_in_manifest(folder):
        fetch(name)
    open_folder(folder).verify()
    return folder


def _is_address(model: str | Path) -> bool:
    """Whether `model` is the address of an export on the Hub."""
    if not isinstance(model, str) or "://" not in model:
        return False
    if not model.startswith("hf://"):
        raise ConfigError(
            f"{model}: a model is a folder, a weight file, or an export on the Hub "
            "(hf://owner/repository/folder@revision)."
        )
    return True


def _no_export(options: ModelOptions) -> str:
    """The error for a model without an export on this machine."""
    exported = options.exported
    if exported is None:
        return (
            "The LiteRT engine runs exports: make one with `python -m exporters.tflite --model "
            "FOLDER --out EXPORT`, and give --model EXPORT."
        )
    return (
        "The LiteRT engine needs an export of this model: `pip install 'pocket-tts-jax[export]'`, "
        f"then `pocket-tts-jax export {exported.option}`, once."
    )
