"""The routes of pocket-tts's own server: `/health` and `/tts`."""

from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile

from pocket_tts_jax.server.formats import FORMATS
from pocket_tts_jax.server.models import ServedModel
from pocket_tts_jax.server.openai_routes import service_of
from pocket_tts_jax.server.problems import Problem
from pocket_tts_jax.server.response import Job, SpeechResponse
from pocket_tts_jax.server.service import Service
from pocket_tts_jax.server.speech import SpeechRequest
from pocket_tts_jax.server.uploads import decode_recording
from pocket_tts_jax.server.voices import find_voice
from pocket_tts_jax.voice.cache import PromptCache, default_cache

router = APIRouter(tags=["pocket-tts"])


@router.get("/health", responses={503: {"description": "The server is ending."}})
async def health(request: Request) -> dict[str, str]:
    """Whether the server takes requests."""
    service_of(request).admission.check()
    return {"status": "healthy"}


@router.post(
    "/tts",
    response_class=SpeechResponse,
    status_code=200,
    responses={200: {"description": "A WAV stream.", "content": {"audio/wav": {}}}},
)
async def text_to_speech(
    request: Request,
    text: Annotated[str, Form(description="The text to speak.")],
    voice_url: Annotated[
        str | None, Form(description="A voice's name, or its address in Kyutai's catalogue.")
    ] = None,
    voice_wav: Annotated[
        UploadFile | None, File(description="A recording to clone; see --allow-cloning.")
    ] = None,
) -> Any:
    """Speak a text into a WAV stream, as pocket-tts's server does."""
    service = service_of(request)
    service.check_text(text, "text")
    if voice_url is not None and voice_wav is not None:
        raise Problem(400, "Cannot provide both voice_url and voice_wav")
    recording = None if voice_wav is None else await _recording(voice_wav, service)

    def prepare(served: ServedModel) -> SpeechRequest:
        if recording is None:
            name = find_voice(voice_url or None, served.model, service.settings)
            return SpeechRequest(text, served.voice(name))
        audio = decode_recording(recording)
        model = served.model
        # A client's recording is never written to disk.
        cache = PromptCache(default_cache().folder, enabled=False)
        return SpeechRequest(text, model.get_state_for_audio_prompt(audio, True, cache=cache))

    job = Job(
        route="tts",
        model=service.shelf.default,
        prepare=prepare,
        format=FORMATS["wav"],
        characters=len(text),
        headers={"Content-Disposition": "attachment; filename=generated_speech.wav"},
    )
    return SpeechResponse(service, job)


async def _recording(upload: UploadFile, service: Service) -> bytes:
    """The bytes of an upload. Raises Problem if this server takes none."""
    if not service.settings.allow_cloning:
        raise Problem(
            403, "This server clones no voices: start it with --allow-cloning, or name a voice."
        )
    data = await upload.read(service.settings.max_upload + 1)
    if len(data) > service.settings.max_upload:
        raise Problem(413, f"A recording may have {service.settings.max_upload} bytes at most.")
    return data
