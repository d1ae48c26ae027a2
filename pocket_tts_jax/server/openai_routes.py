"""OpenAI's routes for speech, models and voices."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.audio.stretch import FASTEST, SLOWEST
from pocket_tts_jax.captions.cues import cues, written_words
from pocket_tts_jax.captions.files import srt, vtt, words_json
from pocket_tts_jax.server.formats import FORMATS, Format
from pocket_tts_jax.server.models import ServedModel
from pocket_tts_jax.server.problems import Problem
from pocket_tts_jax.server.response import Job, SpeechResponse
from pocket_tts_jax.server.service import Service
from pocket_tts_jax.server.settings import OPENAI_MODELS
from pocket_tts_jax.server.speech import SpeechRequest
from pocket_tts_jax.server.voices import default_voice, find_voice, voice_names
from pocket_tts_jax.text.pipeline import TextOptions

router = APIRouter(prefix="/v1", tags=["OpenAI"])
IGNORED = "X-Pocket-TTS-Ignored"
CAPTIONS = {
    "srt": Format("srt", "application/x-subrip"),
    "vtt": Format("vtt", "text/vtt"),
    "json": Format("json", "application/json"),
}
_STARTED = int(time.time())


class VoiceObject(BaseModel):
    """A voice as an object, as newer clients send it."""

    id: str


class SpeechBody(BaseModel):
    """OpenAI's request for speech, with this server's additions."""

    model_config = ConfigDict(extra="ignore")

    input: str = Field(description="The text to speak.")
    model: str | None = Field(None, description="A name of /v1/models; by default the first.")
    voice: str | VoiceObject | None = Field(None, description="A name of /v1/audio/voices.")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = Field(
        None, description=f"Not used: the model has no moods. The header {IGNORED} says so."
    )
    stream: bool | None = Field(
        None,
        description="False answers with one body whose header knows its length. By default audio "
        "is sent as it is made, but for flac, which many readers refuse without a length.",
    )
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="The same seed gives the same bytes."
    )
    normalize: bool | None = Field(None, description="Read numbers as words; null is the model's.")
    pauses: bool = Field(False, description="Understand [pause:0.5] and <break time='500ms'/>.")
    early_start: bool = Field(False, description="Let speech begin after the first clause.")
    timestamps: bool = Field(
        False,
        description="With stream_format sse: events that say when each word and chunk is heard.",
    )


def service_of(request: Request) -> Service:
    """The service of a request."""
    return request.app.state.service


@router.post(
    "/audio/speech",
    response_class=SpeechResponse,
    status_code=200,
    responses={
        200: {
            "description": "Audio in the format asked for, or server-sent events.",
            "content": {one.media_type: {} for one in FORMATS.values()} | {"text/event-stream": {}},
        }
    },
)
async def create_speech(body: SpeechBody, request: Request) -> Any:
    """Speak a text, as OpenAI's API does."""
    service = service_of(request)
    model = service.shelf.resolve(body.model)
    service.check_text(body.input)
    voice = body.voice.id if isinstance(body.voice, VoiceObject) else body.voice
    sse = body.stream_format == "sse"
    if body.timestamps and not sse:
        raise Problem(400, "timestamps come as events: set stream_format to sse.", "timestamps")
    if body.stream is False and sse:
        raise Problem(400, "stream_format sse is a stream: leave stream out.", "stream")

    def prepare(served: ServedModel) -> SpeechRequest:
        name = find_voice(voice, served.model, service.settings)
        options = TextOptions(
            normalize=body.normalize, pauses=body.pauses, early_start=body.early_start
        )
        return SpeechRequest(body.input, served.voice(name), body.speed, body.seed, options)

    streams = body.response_format != "flac" if body.stream is None else body.stream
    job = Job(
        route="openai",
        model=model,
        prepare=prepare,
        format=FORMATS[body.response_format],
        characters=len(body.input),
        sse=sse,
        timestamps=body.timestamps,
        whole=not (streams or sse),
        headers={IGNORED: "instructions"} if body.instructions else {},
    )
    return SpeechResponse(service, job)


class CaptionsBody(BaseModel):
    """A text to caption. With the same seed its audio is that of /v1/audio/speech."""

    input: str
    model: str | None = None
    voice: str | VoiceObject | None = None
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = 1.0
    seed: Annotated[
        int, Field(ge=0, lt=2**63, description="The seed of the audio: captions fit no other.")
    ]
    normalize: bool | None = None
    pauses: bool = False
    early_start: bool = False
    format: Literal["srt", "vtt", "json"] = Field("vtt", description="json has single words.")


@router.post(
    "/audio/captions",
    response_class=SpeechResponse,
    status_code=200,
    responses={200: {"content": {one.media_type: {} for one in CAPTIONS.values()}}},
)
async def create_captions(body: CaptionsBody, request: Request) -> Any:
    """Subtitles with the times of a text's words."""
    service = service_of(request)
    model = service.shelf.resolve(body.model)
    service.check_text(body.input)
    voice = body.voice.id if isinstance(body.voice, VoiceObject) else body.voice
    options = TextOptions(
        normalize=body.normalize, pauses=body.pauses, early_start=body.early_start
    )

    def prepare(served: ServedModel) -> SpeechRequest:
        name = find_voice(voice, served.model, service.settings)
        return SpeechRequest(body.input, served.voice(name), body.speed, body.seed, options)

    def write(words: list[SpokenWord]) -> str:
        if body.format == "json":
            return words_json(words)
        found = cues(written_words(body.input, words, pauses=body.pauses))
        return srt(found) if body.format == "srt" else vtt(found)

    job = Job(
        route="captions",
        model=model,
        prepare=prepare,
        format=CAPTIONS[body.format],
        characters=len(body.input),
        whole=True,
        write_captions=write,
    )
    return SpeechResponse(service, job)


@router.get("/models")
async def list_models(request: Request) -> dict[str, Any]:
    """The models of this server, and OpenAI's names, which refer to the first of them."""
    own = service_of(request).shelf.names
    models = [_model(name) | {"alias": name not in own} for name in _model_names(request)]
    return {"object": "list", "data": models}


@router.get("/models/{model}")
async def get_model(model: str, request: Request) -> dict[str, Any]:
    """One model."""
    service_of(request).shelf.resolve(model)
    return _model(model)


@router.get("/audio/models")
async def list_audio_models(request: Request) -> dict[str, Any]:
    """The same models, in the form for Open WebUI."""
    return {"models": [{"id": name, "name": name} for name in _model_names(request)]}


@router.get("/audio/voices")
async def list_voices(request: Request, model: str | None = None) -> dict[str, Any]:
    """The voices of a model as objects, with facts about the model."""
    service = service_of(request)
    async with service.shelf.use(model) as served:
        names = voice_names(served.model, service.settings)
        return {
            "object": "list",
            "model": served.name,
            "default": default_voice(served.model, service.settings),
            "cloning": service.settings.allow_cloning and served.model.has_voice_cloning,
            "engine": served.model.engine.name,
            "precision": served.model.engine.precision,
            "sample_rate": served.model.sample_rate,
            "max_text": service.settings.max_text,
            "voices": [{"id": name, "name": name, "object": "voice"} for name in names],
        }


def _model_names(request: Request) -> list[str]:
    names = service_of(request).shelf.names
    return names + [name for name in OPENAI_MODELS if name not in names]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "pocket-tts-jax"}
