"""Voices: the attention cache that a voice prompt leaves behind, in memory and in files.

Three kinds of file are read, all of them safetensors:

- the reference's voice: `transformer.layers.N.self_attn/cache` [2, 1, slots, heads, width] (keys,
  then values) with `/offset`, the number of slots in use, and `/pad`;
- its older form, with `/current_end`, whose length is the number of slots in use;
- the voice of the first releases and of phone folders: `audio_prompt` [1, t, d_model], embeddings
  that still have to be prefilled (`VoicePrompt`).

The first kind is written, and the reference reads it. It also holds `voice_prompt/latents` if
known, from which another cache layout can be rebuilt, and metadata with a checksum.
"""

import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pocket_tts_jax.audio.timbre import Timbre
from pocket_tts_jax.config import Config
from pocket_tts_jax.errors import ConfigError, VoiceError, VoiceNotFound
from pocket_tts_jax.files.atomic import atomic_file
from pocket_tts_jax.files.read import check_regular
from pocket_tts_jax.files.verify import damage
from pocket_tts_jax.shapes import Float

FORMAT = "pocket-tts-jax voice"
FORMAT_VERSION = "1"
LATENTS = "voice_prompt/latents"
TIMBRE_KEYS = ("pitch", "formants", "pace")  # in the metadata
_LAYER = re.compile(r"transformer\.layers\.(\d+)\.self_attn")
_EXPORT_AGAIN = (
    "Make the voice again from its recording with this model (`pocket-tts-jax export-voice`), or "
    "choose the model it was made with."
)


@dataclass(frozen=True, eq=False)
class VoiceState:
    """A voice as the keys (rotated) and values of FlowLM's attention, without a batch axis.

    `latents` are the encoder's frames behind the state, if known. `metadata` is text about the
    voice; `write_voice` lists the usual keys. Raises VoiceError for wrong shapes or values that are
    not finite.
    """

    k: Float[np.ndarray, "layers kv_heads t head_dim"]
    v: Float[np.ndarray, "layers kv_heads t head_dim"]
    latents: Float[np.ndarray, "frames latent"] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.k.ndim != 4 or self.k.shape != self.v.shape or self.length == 0:
            raise VoiceError(
                "A voice state needs keys and values of one shape [layers, heads, positions, "
                f"width] with at least one position, got {self.k.shape} and {self.v.shape}."
            )
        if not (np.isfinite(self.k).all() and np.isfinite(self.v).all()):
            raise VoiceError("A voice state must hold finite numbers only; this one is damaged.")
        _ = self.timbre  # refuses impossible ones

    @property
    def timbre(self) -> Timbre | None:
        """How speech with this voice is changed after the decoder: the `pitch`, `formants` and
        `pace` of `metadata`, all factors. None if there is none of them."""
        factors = {key: self.metadata[key] for key in TIMBRE_KEYS if key in self.metadata}
        if not factors:
            return None
        try:
            return Timbre(**{key: float(value) for key, value in factors.items()})
        except (ValueError, ConfigError) as error:
            raise VoiceError(
                f"The voice's timbre cannot be used ({error}). Export the voice again."
            ) from error

    def in_timbre(self, factors: Timbre) -> "VoiceState":
        """The voice with its timbre, if it has one, changed further by `factors`. Raises
        ConfigError where the two together are out of range."""
        if factors == Timbre():
            return self
        before = self.timbre or Timbre()
        made = Timbre(
            before.pitch * factors.pitch,
            before.formants * factors.formants,
            before.pace * factors.pace,
        )
        about = {key: f"{value:g}" for key, value in asdict(made).items()}
        return replace(self, metadata={**self.metadata, **about})

    def spoken_samples(self, decoded: int) -> int:
        """The samples of a chunk in the voice's timbre, given those that the decoder makes."""
        return (self.timbre or Timbre()).length(decoded)

    @property
    def length(self) -> int:
        """Positions in the cache: the prompt's frames and, for most models, one start position."""
        return self.k.shape[2]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(layers, key/value heads, width of a head); the model's must be equal."""
        return self.k.shape[0], self.k.shape[1], self.k.shape[3]


@dataclass(frozen=True, eq=False)
class VoicePrompt:
    """A voice as FlowLM's input embeddings, still to be prefilled (the first releases' files)."""

    embeddings: Float[np.ndarray, "t d_model"]
    metadata: Mapping[str, str] = field(default_factory=dict)


def voice_shape(config: Config) -> tuple[int, int, int]:
    """(layers, key/value heads, width of a head) of the model's attention cache."""
    lm = config.flow_lm.transformer
    kv_heads = lm.num_kv_heads or lm.num_heads
    return lm.num_layers, kv_heads, (lm.attn_dim or lm.d_model) // lm.num_heads


def check_voice(
    voice: VoiceState | VoicePrompt,
    config: Config | None,
    model: str,
    fingerprint: str | None,
    what: str = "The voice",
) -> None:
    """Raise VoiceError if a voice's layers, heads or widths differ from the model's, or if both
    fingerprints are known and differ. `model` and `what` name the model and the voice in the error.
    """
    if config is not None:
        _check_shape(what, voice, config, model)
    made_for = voice.metadata.get("fingerprint")
    if made_for and fingerprint and made_for != fingerprint:
        raise VoiceError(
            f"{what} was made for {voice.metadata.get('model') or 'other weights'}, not for "
            f"{model}: their weights differ. {_EXPORT_AGAIN}"
        )


def read_voice(
    path: str | Path,
    config: Config | None = None,
    *,
    model: str = "this model",
    model_fingerprint: str | None = None,
) -> VoiceState | VoicePrompt:
    """Read a voice file of any kind, in float32 and trimmed to the slots in use.

    The voice is checked against `config` and `model_fingerprint` (`weights.checkpoint.fingerprint`)
    where they are given. Raises VoiceError if they do not match, and for a missing or damaged file.
    """
    path = Path(path)
    voice = _parse(path, *_load(path))
    check_voice(voice, config, model, model_fingerprint, str(path))
    return voice


def read_latents(path: str | Path) -> Float[np.ndarray, "frames latent"] | None:
    """The prompt's latents [frames, latent] in a voice file; None if the file has none.

    They allow a voice to be rebuilt for another model with the same encoder. Raises VoiceError as
    `read_voice` does.
    """
    path = Path(path)
    latents = _load(path)[0].get(LATENTS)
    return None if latents is None else _latents(path, latents)


def write_voice(path: str | Path, voice: VoiceState, *, private: bool = False) -> None:
    """Write a voice file, whole or not at all; the reference reads it too. `private` makes it
    readable by its owner only.

    Usual keys of `voice.metadata`, all optional: `model` and `fingerprint` (of the weights),
    `source` (of the recording), `seconds` (length of the prompt), `licence`, and the timbre's
    `pitch`, `formants` and `pace`. Raises VoiceError if the file cannot be written.
    """
    path = Path(path)
    tensors: dict[str, np.ndarray] = {}
    for layer in range(voice.k.shape[0]):
        name = f"transformer.layers.{layer}.self_attn"
        cache = np.stack([voice.k[layer], voice.v[layer]]).transpose(0, 2, 1, 3)[:, None]
        tensors[f"{name}/cache"] = np.ascontiguousarray(cache, np.float32)
        tensors[f"{name}/offset"] = np.array([voice.length], np.int64)
        tensors[f"{name}/pad"] = np.zeros(1, np.int64)
    if voice.latents is not None:
        tensors[LATENTS] = np.ascontiguousarray(voice.latents, np.float32)
    metadata = {str(key): str(value) for key, value in voice.metadata.items()}
    metadata |= {"format": FORMAT, "format_version": FORMAT_VERSION, "crc32": _checksum(tensors)}
    try:
        with atomic_file(path, private=private) as file:
            file.write(_serialised(tensors, metadata))
    except OSError as error:
        raise VoiceError(
            f"The voice cannot be written to {path} ({error}). Nothing was left there; choose "
            "another place or free some space."
        ) from error


def _serialised(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file, its header sorted: equal voices are equal files."""
    data = save(dict(tensors), dict(metadata))
    (size,) = struct.unpack("<Q", data[:8])
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def _load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All tensors and the metadata of a safetensors file, after its checksum was verified."""
    try:
        check_regular(path)
        if (reason := damage(path)) is not None:
            raise VoiceError(f"{reason} Download or export the voice again.")
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise VoiceNotFound(f"There is no voice file at {path}. Check the path.") from None
    except VoiceError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise VoiceError(
            f"The voice file {path} is damaged or not a safetensors file ({error}). Download or "
            "export it again."
        ) from error
    if "crc32" in metadata and metadata["crc32"] != _checksum(tensors):
        raise VoiceError(
            f"The voice file {path} is damaged: its contents do not have the checksum it was "
            "written with. Download or export it again."
        )
    if metadata.get("format") == FORMAT and metadata.get("format_version") != FORMAT_VERSION:
        raise VoiceError(
            f"The voice file {path} has version {metadata.get('format_version')} of the format; "
            f"this program reads version {FORMAT_VERSION}. Update pocket-tts-jax."
        )
    return tensors, metadata


def _checksum(tensors: Mapping[str, np.ndarray]) -> str:
    """CRC-32 of names and values, against accidental damage."""
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(np.ascontiguousarray(tensors[name]).data, zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"


def _parse(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> VoiceState | VoicePrompt:
    if "audio_prompt" in tensors:
        prompt = tensors["audio_prompt"]
        if prompt.ndim == 3 and prompt.shape[0] == 1:
            prompt = prompt[0]
        if prompt.ndim != 2 or prompt.size == 0 or not np.isfinite(prompt).all():
            raise _malformed(
                path, f"its audio_prompt has the shape {prompt.shape} or is not finite"
            )
        return VoicePrompt(prompt.astype(np.float32), metadata)
    layers = sorted(int(m[1]) for m in map(_LAYER.fullmatch, _modules(tensors)) if m)
    if not layers or layers != list(range(len(layers))):
        raise _malformed(path, f"it has the attention layers {layers}")
    used = {_used(path, tensors, layer) for layer in layers}
    if len(used) > 1:
        raise _malformed(path, f"its layers end at different positions, {sorted(used)}")
    length = used.pop()
    caches = [_cache(path, tensors, layer, length) for layer in layers]
    if len({cache.shape for cache in caches}) > 1:
        raise _malformed(path, "its layers have caches of different shapes")
    k, v = np.stack(caches, axis=1)
    latents = tensors.get(LATENTS)
    return VoiceState(k, v, None if latents is None else _latents(path, latents), metadata)


def _modules(tensors: Mapping[str, np.ndarray]) -> set[str]:
    return {name.partition("/")[0] for name in tensors}


def _used(path: Path, tensors: Mapping[str, np.ndarray], layer: int) -> int:
    """How many slots of a layer's cache are in use."""
    name = f"transformer.layers.{layer}.self_attn"
    pad = tensors.get(f"{name}/pad")
    if pad is not None and pad.any():
        raise _malformed(path, "it was taken from a batch, with padding in front")
    if (offset := tensors.get(f"{name}/offset")) is not None and offset.size == 1:
        return int(offset.reshape(())[()])
    if (end := tensors.get(f"{name}/current_end")) is not None and end.ndim:
        return end.shape[0]
    raise _malformed(path, f"{name} has neither an offset nor a current_end")


def _cache(
    path: Path, tensors: Mapping[str, np.ndarray], layer: int, length: int
) -> Float[np.ndarray, "2 kv_heads t head_dim"]:
    """One layer's keys and values without the unused slots, which may hold NaN."""
    cache = tensors.get(f"transformer.layers.{layer}.self_attn/cache")
    if cache is None or cache.ndim != 5 or cache.shape[:2] != (2, 1):
        shape = None if cache is None else cache.shape
        raise _malformed(path, f"layer {layer} has a cache of shape {shape}")
    if cache.dtype not in (np.float32, np.float16):
        raise _malformed(path, f"layer {layer} has a cache of {cache.dtype}")
    if not 0 < length <= cache.shape[2]:
        raise _malformed(path, f"{length} of {cache.shape[2]} slots are said to be in use")
    used = cache[:, 0, :length].transpose(0, 2, 1, 3).astype(np.float32)
    if not np.isfinite(used).all():
        raise _malformed(
            path, f"layer {layer} holds NaN or infinity among its first {length} slots"
        )
    return used


def _latents(path: Path, latents: np.ndarray) -> Float[np.ndarray, "frames latent"]:
    if latents.ndim != 2 or not np.isfinite(latents).all():
        raise _malformed(path, f"its latents have the shape {latents.shape} or are not finite")
    return latents.astype(np.float32)


def _check_shape(what: str, voice: VoiceState | VoicePrompt, config: Config, model: str) -> None:
    if isinstance(voice, VoicePrompt):
        found = f"width {voice.embeddings.shape[1]}"
        wanted = f"width {config.flow_lm.transformer.d_model}"
    else:
        found, wanted = _describe(voice.shape), _describe(voice_shape(config))
    if found != wanted:
        made_for = voice.metadata.get("model") or "a model"
        raise VoiceError(
            f"{what} was made for {made_for} with {found}; {model} has {wanted}. {_EXPORT_AGAIN}"
        )


def _describe(shape: tuple[int, int, int]) -> str:
    return f"{shape[0]} layers and {shape[1]} key/value heads of width {shape[2]}"


def _malformed(path: Path, reason: str) -> VoiceError:
    return VoiceError(
        f"{path} is no voice that can be used: {reason}. Download it or export it again."
    )
