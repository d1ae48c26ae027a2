"""Where the gate's chain of steps begins: behind a voice and a text, as in speech.

From an empty cache a trained model says nothing sensible, and the smallest difference decides what.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporters.signatures import Signature
from pocket_tts_jax.export_folder import ExportFolder
from pocket_tts_jax.kv_cache import HostCache
from pocket_tts_jax.litert_model import LiteRTModel
from pocket_tts_jax.tokenizer import load_tokenizer
from pocket_tts_jax.voices import VoiceState, read_voice

TEXT = "The train was late again, so we walked home."
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Start:
    """The caches of both sides, how many of their slots are written, and the first latent."""

    position: int
    latent: np.ndarray
    expected: Arrays
    found: Arrays


def read_prompt(
    folder: ExportFolder, model: LiteRTModel, signatures: Sequence[Signature], capacity: int
) -> Start:
    """The folder's first voice, if it has one that fits, and `TEXT`, in caches of `capacity`."""
    named = {signature.name: signature for signature in signatures}
    lengths = [
        int(name.split("_")[1])
        for name in named
        if name.startswith("prefill_") and name.endswith(f"_c{capacity}")
    ]
    prefill = named[f"prefill_{max(lengths)}_c{capacity}"]
    before = _voice_cache(folder, capacity, room=capacity // 2)
    embeddings, count = _embeddings(folder, named["embed_text"], max(lengths))
    given = {"embeddings": embeddings, "position": np.array([before.position], np.float32)}
    call = model.bind(prefill.name, before.arrays)
    for name, value in given.items():
        call.inputs[name][...] = value
    call()
    arguments = [(given | before.arrays)[tensor.name] for tensor in prefill.inputs]
    rows = [np.asarray(result) for result in prefill.compiled(*arguments)]
    expected = dict(zip((tensor.name for tensor in prefill.outputs), rows, strict=True))
    caches = [_append(before, outputs, count) for outputs in (expected, call.outputs)]
    latent = np.asarray(folder.constant("bos"))[None]
    return Start(before.position + count, latent, *caches)


def _voice_cache(folder: ExportFolder, capacity: int, room: int) -> HostCache:
    cache = HostCache(folder.config, capacity)
    for path in sorted((folder.path / "voices").glob("*.safetensors")):
        voice = read_voice(path, folder.config)
        if isinstance(voice, VoiceState) and voice.length <= room:
            cache.append_voice(voice)
            break
    return cache


def _embeddings(folder: ExportFolder, embed: Signature, length: int) -> tuple[np.ndarray, int]:
    """Of the text's first tokens, with zeros up to `length`; and how many there are."""
    kind, path = folder.tokenizer()
    tokenizer = load_tokenizer(kind, path, folder.config.flow_lm.lookup_table.n_bins)
    tokens, ids = np.zeros(embed.inputs[0].shape, np.int32), tokenizer.encode(TEXT)
    count = min(len(ids), length, tokens.shape[1])
    tokens[0, :count] = ids[:count]
    embedded = np.zeros((1, length, embed.outputs[0].shape[2]), np.float32)
    embedded[:, :count] = np.asarray(embed.compiled(tokens)[0])[:, :count]
    return embedded, count


def _append(cache: HostCache, outputs: Arrays, count: int) -> Arrays:
    written = slice(cache.position, cache.position + count)
    arrays = {name: array.copy() for name, array in cache.arrays.items()}
    for name, array in arrays.items():
        array[:, :, written] = outputs[f"{name}_rows"][:, :, :count]
    return arrays
