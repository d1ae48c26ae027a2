"""The voices that Kyutai publishes: names, recordings, licences, and addresses of their states.

A published state belongs to one model's weights. Its recording can be used with any model that has
voice cloning. Licences are those of the recordings, as stated by their repositories
(https://huggingface.co/kyutai/tts-voices).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pocket_tts_jax.errors import VoiceError

_STATES = "hf://kyutai/pocket-tts-without-voice-cloning/languages"
_STATES_REVISION = "a7056f505a4a8ca72d8b5fb1440071d6f1a35739"
_RECORDINGS = "hf://kyutai/tts-voices"
_FIRST_MODELS = "64ab7d24c479d736a83b8cc666c4a776fca30fda"

CC0 = "CC0 1.0"
CC_BY = "CC BY 4.0"
CC_BY_NC = "CC BY-NC 4.0"
NOT_STATED = "not stated: see the repository of the recording"


@dataclass(frozen=True)
class PredefinedVoice:
    """A published voice. `language` is that of its recording; every model has a state of it."""

    name: str
    language: str
    recording: str
    licence: str

    @property
    def commercial_use(self) -> bool:
        """Whether the recording's licence is known to allow commercial use (CC BY: with credit)."""
        return self.licence in (CC0, CC_BY)


def _voices(language: str, *rows: tuple[str, str, str]) -> dict[str, PredefinedVoice]:
    return {name: PredefinedVoice(name, language, *rest) for name, *rest in rows}


def _vctk(speaker: str) -> str:
    return f"{_RECORDINGS}/vctk/{speaker}_023_enhanced.wav"


PREDEFINED: Mapping[str, PredefinedVoice] = {
    **_voices(
        "english",
        ("alba", f"{_RECORDINGS}/alba-mackenna/casual.wav", CC_BY),
        ("anna", _vctk("p228"), CC_BY),
        ("azelma", _vctk("p303"), CC_BY),
        ("bill_boerst", f"{_RECORDINGS}/voice-zero/bill_boerst.wav", CC0),
        ("caro_davy", f"{_RECORDINGS}/voice-zero/caro_davy.wav", CC0),
        ("charles", _vctk("p254"), CC_BY),
        (
            "cosette",
            f"{_RECORDINGS}/expresso/ex04-ex02_confused_001_channel1_499s.wav",
            CC_BY_NC,
        ),
        ("eponine", _vctk("p262"), CC_BY),
        ("eve", _vctk("p361"), CC_BY),
        ("fantine", _vctk("p244"), CC_BY),
        ("george", _vctk("p315"), CC_BY),
        ("jane", _vctk("p339"), CC_BY),
        ("javert", f"{_RECORDINGS}/voice-donations/Butter.wav", CC0),
        ("jean", f"{_RECORDINGS}/ears/p010/freeform_speech_01_enhanced.wav", CC_BY_NC),
        ("marius", f"{_RECORDINGS}/voice-donations/Selfie.wav", CC0),
        ("mary", _vctk("p333"), CC_BY),
        ("michael", _vctk("p360"), CC_BY),
        ("paul", _vctk("p259"), CC_BY),
        ("peter_yearsley", f"{_RECORDINGS}/voice-zero/peter_yearsley.wav", CC0),
        ("stuart_bell", f"{_RECORDINGS}/voice-zero/stuart_bell.wav", CC0),
        ("vera", _vctk("p229"), CC_BY),
    ),
    **_voices(
        "dutch",
        (
            "daan",
            "hf://kyutai/pocket-tts/cml_tts_nl_11290_9412_000030_0001.flac"
            "@2dd944b099d06bb9edbd221fef138685711d9bf0",
            CC_BY,
        ),
    ),
    **_voices(
        "french",
        (
            "estelle",
            f"{_RECORDINGS}/unmute-prod-website/developpeuse-3.wav"
            "@1fc7395b7e012e2bbebfca14b942a4ef62ccc899",
            NOT_STATED,
        ),
    ),
    **_voices(
        "german",
        ("juergen", f"hf://kyutai/pocket-tts/de-DE-juergen.mp3@{_FIRST_MODELS}", NOT_STATED),
    ),
    **_voices(
        "italian",
        (
            "giovanni",
            f"hf://kyutai/pocket-tts/common_voice_it_36520747-enhanced-v2.mp3@{_FIRST_MODELS}",
            CC0,
        ),
    ),
    **_voices(
        "portuguese",
        (
            "rafael",
            f"hf://kyutai/pocket-tts/g-Vi8PgmSY0-enhanced-v2.wav@{_FIRST_MODELS}",
            NOT_STATED,
        ),
    ),
    **_voices(
        "spanish",
        (
            "lola",
            f"hf://kyutai/pocket-tts/common_voice_es_19762977-enhanced-v2.mp3@{_FIRST_MODELS}",
            CC0,
        ),
    ),
}

_DEFAULTS = {
    "dutch": "daan",
    "french": "estelle",
    "german": "juergen",
    "italian": "giovanni",
    "portuguese": "rafael",
    "spanish": "lola",
}


def default_voice(model: str) -> str:
    """The default voice of the published model `model`, such as "german_24l"."""
    return next((v for language, v in _DEFAULTS.items() if language in model), "alba")


def predefined_voice(model: str, name: str) -> str:
    """The address of the state of voice `name` for the published model `model` ("english").

    Raises VoiceError for an unknown voice; the message lists the known ones.
    """
    if name not in PREDEFINED:
        raise VoiceError(
            f"There is no voice called {name!r}. Choose one of {', '.join(sorted(PREDEFINED))}, or "
            "give the path or address of a recording or of a .safetensors voice."
        )
    return f"{_STATES}/{model}/embeddings/{name}.safetensors@{_STATES_REVISION}"
