"""Kyutai's repositories as they lie in the Hub's cache, with random weights of a tiny model.

What names a published model, a voice or a recording finds a file, and needs no network.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from huggingface_hub import constants
from safetensors.numpy import save_file

from pocket_tts_jax import config as configs
from pocket_tts_jax.files import download
from pocket_tts_jax.files.hub import HubFile
from pocket_tts_jax.testing.random_checkpoint import random_tensors
from pocket_tts_jax.testing.tiny_model import TOKENIZER, plain, tiny_config, tiny_voice
from pocket_tts_jax.voice.published import PREDEFINED, predefined_voice
from pocket_tts_jax.voice.state import write_voice
from pocket_tts_jax.weights import alignment, source

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = f"hf://kyutai/pocket-tts/languages/tiny/model.safetensors@{COMMIT}"
VOCABULARY = f"hf://kyutai/pocket-tts/languages/tiny/tokenizer.model@{COMMIT}"


def place_of(hub: Path, address: str) -> Path:
    """Where a file lies in the Hub's cache; the folder is made."""
    file = HubFile.parse(address)
    repository = hub / f"models--{file.repository.replace('/', '--')}"
    commit = COMMIT if file.revision == "main" else file.revision
    if file.revision == "main":
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
    path = repository / "snapshots" / commit / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_recording(path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(path, 0.3 * rng.standard_normal(24000).clip(-1, 1), 24000, format="WAV")


def make_hub(folder: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill a cache in `folder`, and let it be the user's. All `names` are one tiny model."""
    hub, packaged, tiny = folder / "hub", folder / "configs", tiny_config()
    packaged.mkdir(parents=True)
    raw = plain(tiny) | {"weights_path": WEIGHTS}
    raw["flow_lm"]["lookup_table"]["tokenizer_path"] = VOCABULARY
    for name in names:
        (packaged / f"{name}.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
        for voice in PREDEFINED:
            write_voice(place_of(hub, predefined_voice(name, voice)), tiny_voice(tiny))
    save_file(random_tensors(tiny), place_of(hub, WEIGHTS))
    shutil.copy(TOKENIZER, place_of(hub, VOCABULARY))
    for voice in PREDEFINED.values():
        write_recording(place_of(hub, voice.recording))
    monkeypatch.setattr(configs, "CONFIGS", packaged)
    monkeypatch.setattr(source, "CONFIGS", packaged)
    monkeypatch.setattr(alignment, "_PUBLISHED", {})  # Kyutai's models have more heads than this
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setattr(download, "download", lambda url, place: _fetched(place))


def _fetched(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    write_recording(place)
