"""Finds a voice by its name. Paths and addresses from clients are never opened."""

from collections.abc import Mapping

from pocket_tts_jax.server.problems import Problem
from pocket_tts_jax.server.settings import OPENAI_VOICES, ServerSettings
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.published import PREDEFINED

# Addresses of recordings, with and without their revision.
_CATALOGUE = {voice.recording.split("@")[0]: name for name, voice in PREDEFINED.items()}
_CATALOGUE |= {voice.recording: name for name, voice in PREDEFINED.items()}


def voice_names(model: TTSModel, settings: ServerSettings) -> dict[str, str]:
    """All names that `find_voice` accepts for a model, with their voices."""
    default = default_voice(model, settings)
    names = {name: name for name in model.voice_names()}
    if default is not None:
        names.setdefault(default, default)
    for name, target in settings.aliases.items():
        target = target or default
        if target is not None and target in names:
            others = OPENAI_VOICES if name == "openai" else (name,)
            names |= {other: target for other in others if other not in names}
    return names


def default_voice(model: TTSModel, settings: ServerSettings) -> str | None:
    """The default voice of requests; None if there is none."""
    if settings.voice is not None:
        return settings.voice
    names = model.voice_names()
    return model.default_voice() if names else None


def find_voice(asked: str | None, model: TTSModel, settings: ServerSettings) -> str:
    """The voice to load for a name, or for an address of the published catalogue.

    Raises Problem 400 for everything else.
    """
    if asked is None:
        default = default_voice(model, settings)
        if default is None:
            raise Problem(400, "This model has no default voice: name one.", "voice", "no_voice")
        return default
    names = voice_names(model, settings)
    found = names.get(_CATALOGUE.get(asked, asked))
    if found is None:
        raise Problem(400, _unknown(asked, names), "voice", "voice_not_found")
    return found


def _unknown(asked: str, names: Mapping[str, str]) -> str:
    known = ", ".join(names) or "none"
    line = f"There is no voice {asked[:80]!r} here. This model's voices are: {known}."
    if asked in OPENAI_VOICES:
        line += " Start the server with --alias openai to let OpenAI's names mean the default one."
    return line
