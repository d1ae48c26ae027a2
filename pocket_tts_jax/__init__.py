"""Pocket TTS in JAX/Flax: streaming text to speech on a CPU, with voice cloning.

Names are imported when they are first used, so importing this package takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pocket_tts_jax.alignment.spoken import SpokenWord
    from pocket_tts_jax.text.pipeline import TextOptions
    from pocket_tts_jax.tts_model import TTSModel, export_model_state

__all__ = ["SpokenWord", "TTSModel", "TextOptions", "__version__", "export_model_state"]
__version__ = "0.1.0"

_HOMES = {
    "SpokenWord": "pocket_tts_jax.alignment.spoken",
    "TTSModel": "pocket_tts_jax.tts_model",
    "TextOptions": "pocket_tts_jax.text.pipeline",
    "export_model_state": "pocket_tts_jax.tts_model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
