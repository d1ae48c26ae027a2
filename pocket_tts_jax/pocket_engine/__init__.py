"""`PocketTTSEngine`: the interface that the iOS apps know, over an export."""

from pocket_tts_jax.pocket_engine.engine import PocketTTSEngine

__all__ = ["PocketTTSEngine"]
