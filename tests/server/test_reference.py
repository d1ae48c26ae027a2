"""The routes of pocket-tts's own server, and recordings as voices."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from pocket_tts_jax.errors import AudioError
from pocket_tts_jax.server import uploads
from pocket_tts_jax.server.settings import ServerSettings
from pocket_tts_jax.server.uploads import decode_recording
from tests.patience import PATIENCE
from tests.server.running import Running, running
from tests.server.stub import StubEngine, stub_model


@pytest.fixture(scope="module")
def http(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=PATIENCE) as client:
        yield client


def recording(format: str = "WAV", seconds: float = 1.0, rate: int = 24000) -> bytes:
    file = io.BytesIO()
    time = np.arange(round(rate * seconds)) / rate
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * 220 * time), rate, format=format)
    return file.getvalue()


def test_health(http: httpx.Client):
    assert http.get("/health").json() == {"status": "healthy"}


def test_page(http: httpx.Client):
    answer = http.get("/")
    assert answer.headers["content-type"].startswith("text/html") and "<textarea" in answer.text


def test_wav_stream(http: httpx.Client):
    with http.stream("POST", "/tts", data={"text": "Hello there."}) as answer:
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["transfer-encoding"] == "chunked"
        assert "generated_speech.wav" in answer.headers["content-disposition"]
        data = answer.read()
    samples, rate = soundfile.read(io.BytesIO(data))
    assert rate == 24000 and samples.size == (len(data) - 44) // 2 and np.abs(samples).max() > 0.1


@pytest.mark.parametrize("voice", ["joe", ""])
def test_voice_by_name(http: httpx.Client, voice: str):
    assert http.post("/tts", data={"text": "Hi.", "voice_url": voice}).status_code == 200


@pytest.mark.parametrize(
    "voice", ["http://127.0.0.1:1/v.wav", "hf://a/b/c.wav", "/etc/passwd", "file:///etc/passwd"]
)
def test_no_address_of_a_client_is_opened(http: httpx.Client, voice: str):
    answer = http.post("/tts", data={"text": "Hi.", "voice_url": voice})
    assert answer.status_code == 400 and "joe" in answer.json()["detail"]


def test_an_address_of_the_catalogue_is_its_voice():
    from pocket_tts_jax.server.voices import find_voice
    from pocket_tts_jax.voice.published import PREDEFINED

    class Published:
        def voice_names(self) -> list[str]:
            return sorted(PREDEFINED)

        def default_voice(self) -> str:
            return "alba"

    for name, voice in PREDEFINED.items():
        assert find_voice(voice.recording, Published(), ServerSettings()) == name  # type: ignore
        plain = voice.recording.split("@")[0]
        assert find_voice(plain, Published(), ServerSettings()) == name  # type: ignore
    assert find_voice(None, Published(), ServerSettings(voice="eve")) == "eve"  # type: ignore


def test_errors_have_the_form_of_the_reference(http: httpx.Client):
    assert http.post("/tts", data={"text": "  "}).json() == {"detail": "Text cannot be empty"}
    assert http.post("/tts", data={}).status_code == 400
    files = {"voice_wav": ("x.wav", recording())}
    both = http.post("/tts", data={"text": "Hi.", "voice_url": "joe"}, files=files)
    assert both.json() == {"detail": "Cannot provide both voice_url and voice_wav"}


def test_cloning_is_off(http: httpx.Client):
    answer = http.post("/tts", data={"text": "Hi."}, files={"voice_wav": ("x.wav", recording())})
    assert answer.status_code == 403 and "--allow-cloning" in answer.json()["detail"]
    assert http.get("/v1/audio/voices").json()["cloning"] is False


class CloningEngine(StubEngine):
    heard: list[np.ndarray] = []

    def encode(self, audio: np.ndarray) -> np.ndarray:
        self.heard.append(audio)
        width = self.config.mimi.quantizer.output_dimension
        return np.zeros((audio.shape[0] // 1920, width), np.float32)

    def voice_from_latents(self, encoded: np.ndarray):
        return self.voice

    voice: Any = None


def test_cloning():
    import dataclasses

    model = stub_model()
    engine = CloningEngine(model.config)
    engine.voice = model.get_state_for_audio_prompt("joe")
    model.engine = model._voices._engine = engine  # type: ignore[assignment]
    model.source = model._voices._source = dataclasses.replace(model.source, has_voice_cloning=True)
    settings = ServerSettings(port=0, allow_cloning=True, max_upload=200_000)
    with (
        running(settings, model=model) as server,
        httpx.Client(base_url=server.address, timeout=PATIENCE) as http,
    ):
        assert http.get("/v1/audio/voices").json()["cloning"] is True
        for format in ("WAV", "FLAC", "MP3", "OGG"):
            files = {"voice_wav": (f"x.{format}", recording(format, 1.0))}
            answer = http.post("/tts", data={"text": "Hi."}, files=files, timeout=PATIENCE)
            assert answer.status_code == 200 and len(answer.content) > 10_000
            assert engine.heard[-1].shape[0] >= 24000
        garbage = http.post(
            "/tts", data={"text": "Hi."}, files={"voice_wav": ("x.wav", b"RIFF nothing")}
        )
        assert garbage.status_code == 400 and "cannot be read" in garbage.json()["detail"]
        large = {"voice_wav": ("x.wav", recording(seconds=10))}
        assert http.post("/tts", data={"text": "Hi."}, files=large).status_code == 413


def test_recordings_are_decoded_within_limits(monkeypatch: pytest.MonkeyPatch):
    samples, rate = decode_recording(recording("FLAC", 2.0))
    assert rate == 24000 and samples.shape == (48000,)
    with pytest.raises(AudioError, match="cannot be read"):
        decode_recording(b"\x00" * 100)
    with pytest.raises(AudioError, match="longer than 600 seconds"):
        decode_recording(recording("FLAC", 601, rate=8000))
    monkeypatch.setattr(uploads, "SECONDS", 0.01)
    with pytest.raises(AudioError, match="within"):
        decode_recording(recording())
