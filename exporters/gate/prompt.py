"""Where the gate's chain of steps begins: behind a voice and a text, as in speech.

From an empty cache a trained model says nothing sensible, and the smallest difference decides what.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporters.graph.signature import Signature
from pocket_tts_jax.litert_engine.caches import CacheBlock, HostCache
from pocket_tts_jax.litert_engine.folder import ExportFolder
from pocket_tts_jax.litert_engine.runtime import LiteRTModel
from pocket_tts_jax.text.tokenizer import load_tokenizer
from pocket_tts_jax.voice.state import VoiceState, read_voice

TEXT = "The train was late again, so we walked home."


@dataclass(frozen=True)
class Start:
    """The first latent, and the caches of both sides, written as far as each other."""

    latent: np.ndarray
    expected: HostCache
    found: HostCache


def read_prompt(
    folder: ExportFolder, model: LiteRTModel, signatures: Sequence[Signature], capacity: int
) -> Start:
    """The folder's first voice, if it has one that fits, and `TEXT`, in caches of `capacity`."""
    embed = next(s for s in signatures if s.name == "embed_text")
    prefills = [
        s for s in signatures if s.name.startswith("prefill_") and s.name.endswith(f"_c{capacity}")
    ]
    prefill = max(prefills, key=_length)
    found = _voice_cache(folder, capacity, room=capacity // 2)
    expected = copy.deepcopy(found)
    embeddings, count = _embeddings(folder, embed, _length(prefill))
    given = {"embeddings": embeddings, "position": np.array([found.position], np.float32)}
    call = model.bind(prefill.name, found.arrays)
    for name, value in given.items():
        call.inputs[name][...] = value
    call()
    found.append(call.outputs, count)
    arguments = [(given | expected.arrays)[tensor.name] for tensor in prefill.inputs]
    rows = [np.asarray(result) for result in prefill.compiled(*arguments)]
    expected.append(dict(zip((t.name for t in prefill.outputs), rows, strict=True)), count)
    return Start(np.asarray(folder.constant("bos"))[None], expected, found)


def _length(prefill: Signature) -> int:
    return prefill.inputs[0].shape[1]


def _voice_cache(folder: ExportFolder, capacity: int, room: int) -> HostCache:
    cache = CacheBlock(folder.config, capacity, 1).caches[0]
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
