"""`PocketTTSEngine`: the interface of the iOS apps, over an export."""

from pocket_tts_jax.pocket_engine.engine import PocketTTSEngine

__all__ = ["PocketTTSEngine"]
