"""`/v1/audio/stream`: text arrives in pieces, and audio leaves as soon as a clause can be spoken.

Messages of the client are JSON; docs/server.md has them all:

    {"type": "start", "voice": "joe", "format": "pcm"}    once, at first; may be left out
    {"type": "text", "text": "Hel"}                       the next piece, cut anywhere
    {"type": "flush"}                                     what is here is a whole text: speak it
    {"type": "clear"}                                     be silent and forget the text
    {"type": "end"}                                       flush, then close

Each piece of audio is a JSON message with its times, then a binary message with its bytes.
"""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.audio.stretch import FASTEST, SLOWEST
from pocket_tts_jax.generation.engine import Audio
from pocket_tts_jax.generation.threaded import Pieces, Threaded
from pocket_tts_jax.server.formats import FORMATS, Encoder, open_encoder
from pocket_tts_jax.server.log import log_event, log_failure
from pocket_tts_jax.server.metrics import Timing
from pocket_tts_jax.server.models import ServedModel
from pocket_tts_jax.server.problems import Problem, as_openai, problem_of
from pocket_tts_jax.server.response import chunk_event, word_event
from pocket_tts_jax.server.service import Service
from pocket_tts_jax.server.speech import ChunkSpoken, SpeechRequest, speak
from pocket_tts_jax.server.voices import find_voice
from pocket_tts_jax.text.pipeline import TextOptions
from pocket_tts_jax.voice.state import VoiceState

router = APIRouter()
News = Audio | ChunkSpoken | SpokenWord


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Start(_Message):
    """How to speak; the fields are those of /v1/audio/speech."""

    type: Literal["start"] = "start"
    model: str | None = None
    voice: str | None = None
    format: Literal["pcm", "wav", "mp3", "opus", "aac"] = "pcm"
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    normalize: bool | None = None
    pauses: bool = False
    early_start: bool = True
    words: bool = False


class Text(_Message):
    type: Literal["text"]
    text: str


class Order(_Message):
    type: Literal["flush", "clear", "end"]


Message = Annotated[Start | Text | Order, Field(discriminator="type")]
_MESSAGE: TypeAdapter[Start | Text | Order] = TypeAdapter(Message)


@router.websocket("/v1/audio/stream")
async def stream_speech(socket: WebSocket) -> None:
    """One conversation: it ends with `end`, with an error, or when the client leaves."""
    service: Service = socket.app.state.service
    await socket.accept()
    try:
        service.admission.check()
        first = await _receive(socket, service)
        start = first if isinstance(first, Start) else Start()
        async with service.shelf.use(start.model) as served:
            conversation = await _Conversation.open(socket, service, served, start)
            try:
                await conversation.run(None if isinstance(first, Start) else first)
            finally:
                await conversation.clear()
                conversation.encoder.close()
        await socket.close(1000)
    except (WebSocketDisconnect, OSError):
        pass
    except Exception as error:
        problem = problem_of(error)
        if problem.code == "internal_error":
            log_failure(error)
        with suppress(WebSocketDisconnect, RuntimeError, OSError):
            await socket.send_json({"type": "error", **as_openai(problem)})
            await socket.close(1013 if problem.status in (429, 503) else 1008)


async def _receive(socket: WebSocket, service: Service) -> Start | Text | Order:
    """The next message. Problem for one that cannot be understood."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text = message.get("text")
    if text is None:
        raise Problem(400, "Messages are JSON texts, not bytes.", code="invalid_message")
    try:
        return _MESSAGE.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "message"
        raise Problem(400, f"{where}: {first['msg']}", where, "invalid_message") from None


class _Utterance:
    """The text between two flushes, and the task that speaks it after the one before."""

    def __init__(self, patience: float, first_character: int) -> None:
        self.pieces, self.first_character = Pieces(patience), first_character
        self.characters = 0
        self.task: asyncio.Task[None] | None = None


class _Conversation:
    """Speaks one utterance after the other into one socket, on one line of time."""

    def __init__(
        self,
        socket: WebSocket,
        service: Service,
        served: ServedModel,
        start: Start,
        voice: VoiceState,
    ) -> None:
        self._socket, self._service, self._served = socket, service, served
        self._start, self._voice = start, voice
        self._seed = secrets.randbits(63) if start.seed is None else start.seed
        self.encoder: Encoder = open_encoder(FORMATS[start.format], served.model.sample_rate)
        self._open: _Utterance | None = None  # takes in text
        self._tasks: list[asyncio.Task[None]] = []
        self._thread: Threaded[News] | None = None  # of the utterance that is spoken
        self._sent = 0.0  # seconds of audio
        self._received = 0  # characters of text
        self._characters = 0  # before the utterance that is spoken
        self._chunks = 0
        self._sending = asyncio.Lock()

    @classmethod
    async def open(
        cls, socket: WebSocket, service: Service, served: ServedModel, start: Start
    ) -> "_Conversation":
        name = find_voice(start.voice, served.model, service.settings)
        voice = await asyncio.to_thread(served.voice, name)
        await socket.send_json(
            {
                "type": "ready",
                "model": served.name,
                "voice": name,
                "format": start.format,
                "sample_rate": served.model.sample_rate,
            }
        )
        return cls(socket, service, served, start, voice)

    async def run(self, first: Text | Order | None) -> None:
        """Do what the client says until `end`."""
        message = first
        while True:
            if message is None:
                message = await self._next()
            match message:
                case Start():
                    raise Problem(400, "start is the first message.", code="invalid_message")
                case Text():
                    self._add(message.text)
                case Order(type="flush"):
                    self._flush("flushed")
                case Order(type="clear"):
                    await self.clear()
                    await self._tell({"type": "cleared", "at": round(self._sent, 3)})
                case Order(type="end"):
                    self._flush(None)
                    await self._finish()
                    return
            message = None

    async def clear(self) -> None:
        """Be silent: when this returns, no more audio of the text so far is sent."""
        tasks, self._tasks = self._tasks, []
        if self._open is not None:
            self._open.pieces.end()
            self._open = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._thread is not None:
            await self._thread.ended.wait()

    async def _next(self) -> Start | Text | Order:
        """The next message, or the error of an utterance, whichever comes first."""
        receiving = asyncio.create_task(_receive(self._socket, self._service))
        try:
            while True:
                waiting = {receiving, *self._tasks}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in self._tasks if task.done()]:
                    self._tasks.remove(task)
                    task.result()
                if receiving.done():
                    return receiving.result()
        finally:
            receiving.cancel()

    def _add(self, text: str) -> None:
        if self._open is None and text.strip():
            self._open = self._begin()
        self._received += len(text)
        if self._open is None:
            return  # space before a text
        self._open.characters += len(text)
        if self._open.characters > self._service.settings.max_text:
            self._service.check_text("x" * self._open.characters, "text")
        self._open.pieces.put(text)

    def _begin(self) -> _Utterance:
        utterance = _Utterance(self._service.settings.patience, self._received)
        before = self._tasks[-1] if self._tasks else None
        utterance.task = asyncio.create_task(self._speak(utterance, before))
        self._tasks.append(utterance.task)
        return utterance

    def _flush(self, answer: str | None) -> None:
        """Let the open utterance end; `answer` is told when its audio has been sent."""
        if self._open is not None:
            self._open.pieces.end()
            self._open = None
        if answer is not None:
            before = self._tasks[-1] if self._tasks else None
            self._tasks.append(asyncio.create_task(self._report(answer, before)))

    async def _report(self, kind: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        await self._tell({"type": kind, "at": round(self._sent, 3)})

    async def _finish(self) -> None:
        await asyncio.gather(*self._tasks)
        if data := self.encoder.finish():
            await self._send_audio(data, self._sent, self._sent)
        await self._tell({"type": "done", "seconds": round(self._sent, 3), "chunks": self._chunks})

    async def _speak(self, utterance: _Utterance, before: asyncio.Task[None] | None) -> None:
        timing, outcome = Timing("websocket", self._service.metrics), "cancelled"
        try:
            if before is not None:
                await asyncio.wait([before])
            request, offset = self._request(utterance), self._sent
            self._characters = utterance.first_character

            def make(thread: Threaded[News]) -> Iterator[News]:
                on_word = thread.tell if self._start.words else None
                return speak(self._served, request, thread.stopping, thread.tell, on_word)

            async with self._service.run(self._served, make) as self._thread:
                async for news in self._thread:
                    await self._pass_on(news, offset, timing)
            outcome = "done"
        except Exception as error:
            outcome = problem_of(error).code or "failed"
            raise
        finally:
            utterance.pieces.end()  # lets the thread go where it waits for text
            fields = timing.finish(outcome)
            log_event("speech", model=self._served.name, characters=utterance.characters, **fields)

    def _request(self, utterance: _Utterance) -> SpeechRequest:
        start = self._start
        options = TextOptions(
            normalize=start.normalize, pauses=start.pauses, early_start=start.early_start
        )
        pieces = iter(utterance.pieces)
        return SpeechRequest(pieces, self._voice, start.speed, self._seed, options, self._chunks)

    async def _pass_on(self, news: News, offset: float, timing: Timing) -> None:
        """Send what was made; `offset` is where its utterance begins."""
        timing.sent()
        if isinstance(news, ChunkSpoken):
            self._chunks += 1
            start, end = news.start + offset, news.end + offset
            await self._tell(chunk_event(replace(news, start=start, end=end), "chunk"))
            return
        if isinstance(news, SpokenWord):
            later = news.later(offset, self._characters)
            return await self._tell(word_event(later, "word"))
        seconds = news.shape[0] / self._served.model.sample_rate
        timing.audio_seconds += seconds
        start, self._sent = self._sent, self._sent + seconds
        await self._send_audio(self.encoder.encode(news), start, self._sent)

    async def _send_audio(self, data: bytes, start: float, end: float) -> None:
        """A piece of audio and its times, which nothing comes between."""
        if not data:
            return  # the encoder waits for more
        times = {"start": round(start, 4), "end": round(end, 4)}
        async with self._sending:
            await self._socket.send_json({"type": "audio", **times, "bytes": len(data)})
            await self._socket.send_bytes(data)

    async def _tell(self, message: dict[str, object]) -> None:
        async with self._sending:
            await self._socket.send_json(message)
