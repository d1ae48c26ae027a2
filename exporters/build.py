"""Makes one export: from a model to the files of a folder."""

import dataclasses
import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from exporters.convert import litert as convert
from exporters.convert import quantize
from exporters.convert.quantize import (
    DECODERS,
    PRECISIONS,
    WIDE_CONVOLUTIONS,
    Decoder,
    Precision,
    recipe_of,
)
from exporters.gate import report
from exporters.gate.gate import Check, Part, validate
from exporters.gate.vectors import write_vectors
from exporters.graph.fold import (
    PLAIN_LAYERS,
    decoder_weights,
    encoder_weights,
    flow_lm_weights,
)
from exporters.graph.signature import Signature, aligned
from exporters.graph.signatures import (
    BATCHES,
    DECODER_FRAMES,
    PREFILL_LENGTHS,
    decoder_signatures,
    encoder_signatures,
    flow_lm_signatures,
)
from exporters.manifest import refresh_files, write_manifest
from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import ConfigError, VoiceError
from pocket_tts_jax.jax_engine.engine import JaxEngine
from pocket_tts_jax.litert_engine.engine import LiteRTEngine
from pocket_tts_jax.litert_engine.folder import open_folder
from pocket_tts_jax.voice.state import VoicePrompt, VoiceState, read_voice, write_voice
from pocket_tts_jax.weights.checkpoint import fingerprint, release_all
from pocket_tts_jax.weights.source import ModelSource, is_published, open_source

_log = logging.getLogger(__name__)
MAX_FRAMES = 768  # 30 s of voice, a full chunk of text, and the longest speech for it
MANY_FRAMES = 8192  # 11 minutes; the caches would take more memory than the model
_DOCUMENTS = ("LICENSE", "MODEL_CARD.md", "README.md")
FLOW_LM, DECODER, ENCODER = "flow_lm.tflite", "mimi_decoder.tflite", "mimi_encoder.tflite"


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    precision: str = "int8"
    max_frames: int = MAX_FRAMES
    voices: tuple[str, ...] = ()
    with_encoder: bool = False
    via: str = "litert"
    prefill_lengths: tuple[int, ...] = PREFILL_LENGTHS
    decoder_frames: tuple[int, ...] = DECODER_FRAMES
    batches: tuple[int, ...] = BATCHES
    decoder: str = "fp32"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"--precision is one of {', '.join(PRECISIONS)}, got {self.precision}"
            )
        if self.decoder not in DECODERS:
            raise ConfigError(f"--decoder is one of {', '.join(DECODERS)}, got {self.decoder}")
        fewest = 2 * max(self.prefill_lengths)
        if not fewest <= self.max_frames <= MANY_FRAMES:
            raise ConfigError(
                f"--max-frames is from {fewest} to {MANY_FRAMES}, got {self.max_frames}"
            )
        if self.via not in ("litert", "jax2tf"):
            raise ConfigError(f"--via is litert or jax2tf, got {self.via}")


class Export:
    """Fills an empty folder with an export, and checks it."""

    def __init__(self, model: str | None, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.source = open_model(model, options.with_encoder)
        self.config = self.source.config
        self.tensors = self.source.load_tensors()

    def run(self) -> list[Check]:
        """Convert, copy, describe, validate."""
        precision = cast(Precision, self.options.precision)
        decoder = cast(Decoder, self.options.decoder)
        self.flow_lm = aligned(flow_lm_weights(self.tensors, self.config))
        parts = make_parts(self.flow_lm, self.tensors, self.source, self.options)
        for part in parts:
            self._convert(part, recipe_of(part.file, precision, decoder))
            release_all(self.tensors)  # their folded copies stay
        self._copy()
        write_manifest(
            self.folder,
            self.source,
            precision=precision,
            decoder=decoder,
            route=self.options.via,
            licence=_licence(self.folder),
            fingerprint=fingerprint(self.tensors, "flow_lm.transformer."),
            parameters=sum(tensor.size for tensor in self.tensors.values()),
            capacity=self.options.max_frames,
            batches=self.options.batches,
            weights=self.flow_lm,
            signatures={part.file: part.signatures for part in parts},
        )
        checks = validate(self.folder, parts, self.tensors, self.source, precision, decoder)
        title = f"{self.source.name}, {open_folder(self.folder).precisions}"
        report.write_reports(self.folder, title, checks)
        self._record()
        return checks

    def _convert(self, part: Part, rules: tuple[quantize.Rule, ...]) -> None:
        _log.info("Converting %s", part.file)
        target = self.folder / part.file
        route = _route(self.options.via)
        if not rules:
            route(part.signatures, target)
            return
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            plain = Path(place) / part.file
            route(part.signatures, plain)
            quantize.quantize(plain, target, rules)

    def _copy(self) -> None:
        """Configuration, tokenizer, voices and documents."""
        source, folder = self.source, self.folder
        (folder / "config.yaml").write_text(_yaml(self.config), encoding="utf-8")
        shutil.copyfile(source.tokenizer, folder / f"tokenizer{source.tokenizer.suffix}")
        for path in _voice_files(source, self.options.voices):
            (folder / "voices").mkdir(exist_ok=True)
            write_voice(folder / "voices" / path.name, self._voice(path))
        if source.voices is not None:
            for document in _DOCUMENTS:
                if (source.voices.parent / document).is_file():
                    shutil.copyfile(source.voices.parent / document, folder / document)

    def _voice(self, path: Path) -> VoiceState:
        """A voice of any form as its attention cache; one of another model stops the export."""
        voice = read_voice(path, self.config)
        if isinstance(voice, VoicePrompt):
            engine = JaxEngine(self.config, dict(self.tensors))
            state = engine.voice_from_embeddings(voice.embeddings)
            return dataclasses.replace(state, metadata=voice.metadata)
        return voice

    def _record(self) -> None:
        """Record test vectors from the finished files, and add them to the manifest."""
        refresh_files(self.folder)
        engine = LiteRTEngine(self.folder, threads=1)
        write_vectors(engine)
        engine.close()
        refresh_files(self.folder)


def open_model(model: str | None, with_encoder: bool = False) -> ModelSource:
    """A packaged name, a folder, or (None) the embedded voice."""
    named = model is not None and is_published(model)
    source = open_source(language=model) if named else open_source(model=model)
    if with_encoder and not source.has_voice_cloning:
        raise ConfigError(f"{source.name} has no encoder for recordings: leave out --with-encoder.")
    return source


def make_parts(flow_lm: Any, tensors: Any, source: ModelSource, options: Options) -> list[Part]:
    """The files of an export."""
    config, heads = source.config, source.alignment.heads
    # In eight bits the differences of the fast form lose precision.
    plain = len(WIDE_CONVOLUTIONS) if options.decoder == "int8" else PLAIN_LAYERS
    decoder = decoder_weights(tensors, config, plain)
    parts = [
        Part(
            FLOW_LM,
            flow_lm_signatures(
                flow_lm,
                config,
                heads,
                options.max_frames,
                options.prefill_lengths,
                options.batches,
            ),
        ),
        Part(DECODER, decoder_signatures(decoder, config, options.decoder_frames)),
    ]
    if options.with_encoder:
        encoder = encoder_weights(tensors, config)
        parts.append(Part(ENCODER, encoder_signatures(encoder, config)))
    return parts


def _route(via: str) -> Callable[[list[Signature], Path], None]:
    if via == "litert":
        return convert.convert
    from exporters.convert import jax2tf

    return jax2tf.convert


def _voice_files(source: ModelSource, wanted: tuple[str, ...]) -> list[Path]:
    names = wanted or tuple(source.voice_names())
    files = []
    for name in names:
        path = source.voice_file(name) or Path(name)
        if not path.is_file():
            known = ", ".join(source.voice_names()) or "none"
            raise VoiceError(f"There is no voice {name!r}: give one of {known}, or a voice file.")
        files.append(path)
    return files


def _licence(folder: Path) -> str:
    path = folder / "LICENSE"
    if path.is_file():
        return path.read_text(encoding="utf-8").strip().splitlines()[0]
    return "see the model's own terms"


def _yaml(config: Config) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if v is not None}
        return [plain(v) for v in value] if isinstance(value, tuple | list) else value

    return yaml.safe_dump(plain(dataclasses.asdict(config)), sort_keys=False, allow_unicode=True)
