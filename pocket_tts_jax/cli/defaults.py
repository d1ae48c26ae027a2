"""The default model of a command: the one that the voice needs."""

from collections.abc import Callable
from pathlib import Path

ENGLISH = "english"


def language_for(
    voice: str | None, language: str | None, others: tuple[object, ...], notice: Callable
) -> str | None:
    """`language`, or "english" for a voice that the model in this package cannot use.

    `others` are the other options that name a model. Kyutai's voices, recordings, and voice files
    of their models need `english`, which is the reference's default.
    """
    if language is not None or voice is None or any(o is not None for o in others):
        return language
    if not _needs_english(voice):
        return None
    notice(f"No model was named: taking --language {ENGLISH} for the voice {voice}.")
    return ENGLISH


def _needs_english(voice: str) -> bool:
    from pocket_tts_jax.voice.load import is_name, is_voice_file
    from pocket_tts_jax.voice.published import PREDEFINED
    from pocket_tts_jax.weights.settings import ModelSettings
    from pocket_tts_jax.weights.source import EMBEDDED

    if is_name(voice):
        own = (EMBEDDED / "voices" / f"{voice}.safetensors").is_file()
        return voice in PREDEFINED and not own
    if is_voice_file(voice):
        return not _fits(voice, EMBEDDED)
    return not ModelSettings.read(EMBEDDED).has_voice_cloning


def _fits(voice: str, folder: Path) -> bool:
    """Whether a voice file was made for the model in a folder; False for an address."""
    from pocket_tts_jax.config import load_config
    from pocket_tts_jax.errors import VoiceError, VoiceNotFound
    from pocket_tts_jax.files.hub import is_remote
    from pocket_tts_jax.voice.state import read_voice

    if is_remote(voice):
        return False
    try:
        read_voice(Path(voice).expanduser(), load_config(folder / "config.yaml"))
    except VoiceNotFound:
        raise
    except VoiceError:
        return False
    return True
