"""Wyoming, the protocol of Home Assistant's voice assistants. It has no key: everyone who reaches
the port may use it, so it has an option of its own."""

import asyncio
from collections.abc import Iterator
from typing import Any

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.server import AsyncEventHandler, AsyncTcpServer
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from pocket_tts_jax import __version__
from pocket_tts_jax.audio.write import to_int16
from pocket_tts_jax.generation.threaded import Pieces, Threaded
from pocket_tts_jax.server.log import log_event, log_failure
from pocket_tts_jax.server.metrics import Timing
from pocket_tts_jax.server.models import ServedModel
from pocket_tts_jax.server.problems import problem_of
from pocket_tts_jax.server.service import Service
from pocket_tts_jax.server.speech import SpeechRequest, speak
from pocket_tts_jax.server.voices import find_voice, voice_names
from pocket_tts_jax.text.pipeline import TextOptions, language_of

_TAIL = 0.2  # seconds of silence: satellites cut off the last samples
_AUTHOR = Attribution("pocket-tts-jax", "https://github.com/kyutai-labs/pocket-tts")


class WyomingServer:
    """Serves the default model of a service to Wyoming clients."""

    def __init__(self, service: Service, host: str, port: int) -> None:
        self._service, self._server = service, AsyncTcpServer(host, port)

    async def start(self) -> None:
        def handler(reader: Any, writer: Any) -> AsyncEventHandler:
            return _Handler(self._service, reader, writer)

        await self._server.start(handler)

    async def stop(self) -> None:
        await self._server.stop()


class _Handler(AsyncEventHandler):
    """One client."""

    def __init__(
        self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        super().__init__(reader, writer)
        self._service = service
        self._pieces: Pieces | None = None  # of a text that is still coming
        self._characters = 0
        self._speaking: asyncio.Task[None] | None = None

    async def handle_event(self, event: Event) -> bool:
        try:
            await self._answer(event)
        except (ConnectionError, asyncio.CancelledError):
            return False
        except Exception as error:
            problem = problem_of(error)
            if problem.code == "internal_error":
                log_failure(error)
            await self.write_event(Error(problem.message, problem.code).event())
            return False
        return True

    async def disconnect(self) -> None:
        """The client has disconnected: stop speaking."""
        if self._pieces is not None:
            self._pieces.end()
        if self._speaking is not None:
            self._speaking.cancel()

    async def _answer(self, event: Event) -> None:
        if Describe.is_type(event.type):
            await self.write_event((await self._info()).event())
        elif SynthesizeStart.is_type(event.type):
            self._begin(SynthesizeStart.from_event(event).voice)
        elif SynthesizeChunk.is_type(event.type) and self._pieces is not None:
            self._add(SynthesizeChunk.from_event(event).text)
        elif SynthesizeStop.is_type(event.type) and self._pieces is not None:
            await self._end()
        elif Synthesize.is_type(event.type) and self._pieces is None:
            # A text in pieces is followed by the whole text, for servers that need it.
            whole = Synthesize.from_event(event)
            self._begin(whole.voice)
            self._add(whole.text)
            await self._end(stopped=False)

    def _begin(self, voice: SynthesizeVoice | None) -> None:
        self._pieces, self._characters = Pieces(self._service.settings.patience), 0
        name = None if voice is None else voice.name
        self._speaking = asyncio.create_task(self._speak(self._pieces, name))

    def _add(self, text: str) -> None:
        if self._pieces is None:
            return
        self._characters += len(text)
        if self._characters > self._service.settings.max_text:
            self._service.check_text("x" * self._characters, "text")
        self._pieces.put(text)

    async def _end(self, *, stopped: bool = True) -> None:
        if self._pieces is None or self._speaking is None:
            return
        self._pieces.end()
        await self._speaking
        self._pieces = self._speaking = None
        if stopped:
            await self.write_event(SynthesizeStopped().event())

    async def _speak(self, pieces: Pieces, voice: str | None) -> None:
        timing, outcome = Timing("wyoming", self._service.metrics), "client left"
        try:
            async with self._service.shelf.use(None) as served:
                await self._send(served, pieces, voice, timing)
            outcome = "done"
        except Exception as error:
            outcome = problem_of(error).code or "failed"
            raise
        finally:
            log_event("speech", characters=self._characters, **timing.finish(outcome))

    async def _send(
        self, served: ServedModel, pieces: Pieces, voice: str | None, timing: Timing
    ) -> None:
        name = find_voice(voice, served.model, self._service.settings)
        state = await asyncio.to_thread(served.voice, name)
        rate = served.model.sample_rate

        def make(thread: Threaded[bytes]) -> Iterator[bytes]:
            request = SpeechRequest(iter(pieces), state, options=TextOptions(early_start=True))
            for samples in speak(served, request, thread.stopping):
                timing.audio_seconds += samples.shape[0] / rate
                yield to_int16(samples).astype("<i2").tobytes()
            yield bytes(2 * round(_TAIL * rate))

        sound = {"rate": rate, "width": 2, "channels": 1}
        try:
            async with self._service.run(served, make) as parts:
                async for data in parts:
                    if timing.first is None:
                        await self.write_event(AudioStart(**sound).event())
                    timing.sent()
                    await self.write_event(AudioChunk(audio=data, **sound).event())
        finally:
            pieces.end()
        await self.write_event(AudioStop().event())

    async def _info(self) -> Info:
        async with self._service.shelf.use(None) as served:
            names = voice_names(served.model, self._service.settings)
            language = language_of(served.model.source)
        voices = [
            TtsVoice(
                name=name,
                attribution=_AUTHOR,
                installed=True,
                description=name,
                version=None,
                languages=[language],
            )
            for name in names
        ]
        program = TtsProgram(
            name="pocket-tts",
            attribution=_AUTHOR,
            installed=True,
            description="Pocket TTS on this machine's processor",
            version=__version__,
            voices=voices,
            supports_synthesize_streaming=True,
        )
        return Info(tts=[program])
