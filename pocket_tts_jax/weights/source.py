"""Finds a model: its configuration, weights, tokenizer and voices.

Four kinds of source, all giving the same `ModelSource`:

- nothing: the voice embedded in this package;
- a name ("english", "german_24l"): a packaged configuration and Kyutai's files on the Hub;
- a configuration: a YAML file, `https://` or `hf://` address, with the files that it names;
- a folder, or the weight file in it: `model.safetensors`, `tokenizer.model` or `.json`, `voices/`,
  and `config.yaml`. Phone folders have no configuration: the packaged one that fits is taken.
"""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocket_tts_jax.config import (
    CONFIGS,
    Config,
    available_configs,
    load_config,
    packaged_config,
)
from pocket_tts_jax.errors import ConfigError, ConfigNotFound
from pocket_tts_jax.files.fallback import resolve_with_fallback
from pocket_tts_jax.files.hub import is_remote, resolve
from pocket_tts_jax.weights.alignment import Alignment, alignment_of
from pocket_tts_jax.weights.checkpoint import (
    Tensors,
    load_checkpoint,
    load_split_checkpoint,
    map_safetensors,
    replace_mimi,
)
from pocket_tts_jax.weights.expected import parameter_shapes
from pocket_tts_jax.weights.settings import ModelSettings

_log = logging.getLogger(__name__)

EMBEDDED = Path(__file__).parents[1] / "embedded"
WEIGHTS = "model.safetensors"
Notice = Callable[[str], None]


@dataclass(frozen=True)
class ModelSource:
    """Everything about a model except its weights, which `load_tensors` reads."""

    name: str
    config: Config
    tokenizer: Path
    load_tensors: Callable[[], Tensors]
    has_voice_cloning: bool
    settings: ModelSettings = ModelSettings()
    voices: Path | None = None  # a folder of voice files
    published: str | None = None  # the name whose predefined voices fit these weights
    offline: bool = False  # voices must not be fetched either

    @property
    def alignment(self) -> Alignment:
        """The attention heads that follow the text."""
        return alignment_of(self.config, self.published, self.settings.alignment_heads)

    @property
    def tokenizer_kind(self) -> str:
        """The kind of the tokenizer file; in a phone folder it may differ from the
        configuration."""
        kinds = {".model": "sentencepiece", ".json": "tokenizers"}
        configured = self.config.flow_lm.lookup_table.tokenizer
        return kinds.get(self.tokenizer.suffix, configured)

    def voice_file(self, name: str) -> Path | None:
        """The file of a voice in the model's folder; None for an unknown name."""
        if self.voices is None:
            return None
        path = self.voices / f"{name}.safetensors"
        return path if name in self.voice_names() else None

    def voice_names(self) -> list[str]:
        if self.voices is None:
            return []
        return sorted(path.stem for path in self.voices.glob("*.safetensors"))


def is_published(model: str) -> bool:
    """Whether `model` names a packaged configuration and no local path has that name."""
    return model in available_configs() and not Path(model).exists()


def open_source(
    *,
    language: str | None = None,
    config: str | Path | None = None,
    model: str | Path | None = None,
    checkpoint: str | Path | None = None,
    offline: bool = False,
    on_notice: Notice = _log.warning,
) -> ModelSource:
    """Find one model. At most one of `language`, `config` and `model`; without any, the embedded
    voice.

    `checkpoint` replaces the weights that a configuration or a name points to. Raises ConfigError,
    CheckpointError or DownloadError, each saying what to do.
    """
    sources = {"language": language, "config": config, "model": model}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"Choose one of {' and '.join(given)}: both name a model.")
    if model is not None or not given:
        if checkpoint is not None:
            raise ConfigError("checkpoint goes with language or config; model names its weights.")
        folder = EMBEDDED if model is None else Path(model).expanduser()
        source = _from_folder(folder, on_notice)
        if source.settings.notice is not None:
            on_notice(source.settings.notice)
        return dataclasses.replace(source, offline=offline)
    fetch = _Fetch(offline, on_notice)
    if language is not None:
        return _from_config(packaged_config(language), fetch, checkpoint)
    path = fetch(str(config), "the model's configuration")
    if str(config).split("@")[0].rsplit(".", 1)[-1] not in ("yaml", "yml"):
        raise ConfigError(f"A configuration is a .yaml file, got {config}.")
    return _from_config(path, fetch, checkpoint)


@dataclass(frozen=True)
class _Fetch:
    offline: bool
    on_notice: Notice

    def __call__(self, source: str | Path, what: str) -> Path:
        return resolve(source, what=what, offline=self.offline, on_notice=self.on_notice)


def _from_folder(path: Path, on_notice: Notice) -> ModelSource:
    folder = path.parent if path.is_file() else path
    weights = path if path.is_file() else path / WEIGHTS
    if not weights.is_file():
        if folder == EMBEDDED:
            raise ConfigError(
                "This installation has no embedded voice. Name a model: --model FOLDER for one on "
                "this machine, or --language english for Kyutai's."
            )
        raise ConfigNotFound(
            f"There is no model at {path}: expected a folder with {WEIGHTS}, a tokenizer and "
            "voices, or the path of such a weight file."
        )
    own = folder / "config.yaml"
    config = load_config(own) if own.exists() else _fitting_config(weights, on_notice)
    settings, shapes = ModelSettings.read(folder), parameter_shapes(config)
    return ModelSource(
        name="embedded" if folder == EMBEDDED else folder.name,
        config=config,
        tokenizer=_folder_tokenizer(folder),
        load_tensors=lambda: load_checkpoint(weights, shapes),
        has_voice_cloning=settings.has_voice_cloning,
        settings=settings,
        voices=folder / "voices",
    )


def _folder_tokenizer(folder: Path) -> Path:
    for name in ("tokenizer.model", "tokenizer.json"):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(
        f"There is no tokenizer.model or tokenizer.json in {folder}. Copy the one that the model "
        "was published with there."
    )


def _fitting_config(weights: Path, on_notice: Notice) -> Config:
    """The packaged configuration whose tensors match the file; English ones are tried first.

    Several may match: they differ in how they read text and when they stop.
    """
    found = {name: tensor.shape for name, tensor in map_safetensors(weights).items()}
    names = sorted(available_configs(), key=lambda n: (n != "english", not n.startswith("en"), n))
    configs = {name: load_config(packaged_config(name)) for name in names}
    fitting = [name for name, config in configs.items() if parameter_shapes(config) == found]
    if not fitting:
        raise ConfigError(
            f"No packaged configuration has the tensors of {weights}. Put the model's config.yaml "
            "beside it."
        )
    chosen, *others = fitting
    if others:
        on_notice(
            f"{weights} does not say which model it is: {chosen} is assumed, but its tensors are "
            f"also those of {', '.join(others)}. A config.yaml beside it decides."
        )
    return configs[chosen]


def _from_config(path: Path, fetch: _Fetch, checkpoint: str | Path | None) -> ModelSource:
    config = load_config(path)
    published = path.stem if path.is_relative_to(CONFIGS) and checkpoint is None else None
    load, cloning = _weights(path, config, fetch, checkpoint)
    return ModelSource(
        name=path.stem,
        config=config,
        tokenizer=fetch(_beside(path, config.flow_lm.lookup_table.tokenizer_path), "the tokenizer"),
        load_tensors=load,
        has_voice_cloning=cloning,
        published=published,
        offline=fetch.offline,
    )


def _beside(config: Path, source: str) -> str | Path:
    """A relative path in a configuration is looked up as given, then beside the configuration."""
    path = Path(source).expanduser()
    if is_remote(source) or path.is_absolute() or path.exists():
        return source
    return config.parent / source


def _weights(
    path: Path, config: Config, fetch: _Fetch, checkpoint: str | Path | None
) -> tuple[Callable[[], Tensors], bool]:
    """How to load the weights, and whether they can clone voices. Downloads what is missing."""
    shapes = parameter_shapes(config)
    if checkpoint is not None:
        weights = fetch(checkpoint, "the checkpoint")
        return lambda: load_checkpoint(weights, shapes), True
    bundle_path, fallback, lm_path, mimi_path = (
        None if source is None else _beside(path, source)
        for source in (
            config.weights_path,
            config.weights_path_without_voice_cloning,
            config.flow_lm.weights_path,
            config.mimi.weights_path,
        )
    )
    if bundle_path is None:
        if lm_path is None or mimi_path is None:
            raise ConfigError(
                "The configuration names no weights: set weights_path, or both "
                "flow_lm.weights_path and mimi.weights_path, or pass checkpoint."
            )
        lm, codec = fetch(lm_path, "FlowLM's weights"), fetch(mimi_path, "Mimi's weights")
        return lambda: load_split_checkpoint(lm, codec, shapes), True
    what = "the model's weights"
    if fallback is None:
        bundle, cloning = fetch(bundle_path, what), True
    else:
        bundle, cloning = resolve_with_fallback(
            bundle_path,
            fallback,
            what=what,
            offline=fetch.offline,
            on_notice=fetch.on_notice,
        )
    if mimi_path is None:
        return lambda: load_checkpoint(bundle, shapes), cloning
    codec = fetch(mimi_path, "Mimi's weights")
    return lambda: replace_mimi(load_checkpoint(bundle, shapes), codec, shapes), cloning
