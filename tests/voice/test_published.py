"""The published voices, and where they are."""

import pytest

from pocket_tts_jax.config import available_configs
from pocket_tts_jax.errors import VoiceError
from pocket_tts_jax.voice.published import PREDEFINED, default_voice, predefined_voice


def test_catalog_addresses_are_pinned_and_complete():
    assert predefined_voice("german_24l", "juergen") == (
        "hf://kyutai/pocket-tts-without-voice-cloning/languages/german_24l/embeddings/"
        "juergen.safetensors@a7056f505a4a8ca72d8b5fb1440071d6f1a35739"
    )
    for model in available_configs():
        assert default_voice(model) in PREDEFINED
    assert default_voice("english_2026-10") == "alba"
    assert default_voice("portuguese_24l") == "rafael"
    assert not PREDEFINED["cosette"].commercial_use
    with pytest.raises(VoiceError, match="no voice called 'albba'.*alba, anna"):
        predefined_voice("english", "albba")


@pytest.mark.reference
def test_catalog_is_the_references():
    pytest.importorskip("pocket_tts")
    from pocket_tts.default_parameters import get_default_voice_for_language
    from pocket_tts.utils import utils

    ours = {name: entry.recording for name, entry in PREDEFINED.items()}
    assert ours == utils._ORIGINS_OF_PREDEFINED_VOICES
    for model in available_configs():
        assert default_voice(model) == get_default_voice_for_language(model)
        assert predefined_voice(model, "alba") == utils.get_predefined_voice(model, "alba")
