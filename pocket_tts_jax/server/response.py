"""The response with a stream of speech. It starts with the first bytes of audio, so that an error
before them has its own status. It ends when the client disconnects."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pocket_tts_jax.alignment.spoken import SpokenWord
from pocket_tts_jax.generation.threaded import Threaded
from pocket_tts_jax.server.formats import Format, open_encoder
from pocket_tts_jax.server.log import log_event, log_failure
from pocket_tts_jax.server.metrics import Timing
from pocket_tts_jax.server.models import ServedModel
from pocket_tts_jax.server.problems import Problem, answer, as_openai, problem_of
from pocket_tts_jax.server.service import Service
from pocket_tts_jax.server.speech import ChunkSpoken, SpeechRequest, speak

Prepare = Callable[[ServedModel], SpeechRequest]


@dataclass
class Job:
    """The speech that a route requests. `prepare` runs in a thread, because it may read a voice."""

    route: str
    model: str
    prepare: Prepare
    format: Format
    characters: int
    sse: bool = False
    timestamps: bool = False
    """Whether events give the times of chunks and words; needs `sse`."""
    whole: bool = False
    """Whether the answer is one body with its length, instead of a stream."""
    write_captions: Callable[[list[SpokenWord]], str] | None = None
    """Makes the answer from the words, instead of the audio."""
    headers: dict[str, str] = field(default_factory=dict)


class SpeechResponse(Response):
    """Speaks a job to its client."""

    def __init__(self, service: Service, job: Job) -> None:
        self._service, self._job = service, job
        self._timing = Timing(job.route, service.metrics)
        self._started = False
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        speaking = asyncio.create_task(self._speak(scope, receive, send))
        leaving = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait((speaking, leaving), return_when=asyncio.FIRST_COMPLETED)
            gone = not speaking.done()
        finally:
            for task in (speaking, leaving):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await leaving
        if gone:
            with suppress(asyncio.CancelledError):
                await speaking
            self._log("client left")
        else:
            speaking.result()

    async def _speak(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._service.shelf.use(self._job.model) as served:
                make = _Make(served, self._job, self._timing)
                async with self._service.run(served, make) as bytes_made:
                    await self._send(bytes_made, send)
        except OSError:  # the connection broke during a write
            self._log("client left")
        except Exception as error:
            problem = problem_of(error)
            if problem.code == "internal_error":
                log_failure(error)
            await self._tell(problem, scope, receive, send)
            self._log(problem.code or "failed")
        else:
            self._log("done")

    async def _send(self, pieces: AsyncIterator[bytes], send: Send) -> None:
        body = b""
        async for data in pieces:
            if self._job.whole:
                body += data
                continue
            self._timing.sent()
            await self._start(send)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if self._job.whole:
            self._timing.sent()
            await self._start(send, len(body))
        await self._start(send)
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _start(self, send: Send, length: int | None = None) -> None:
        if self._started:
            return
        self._started = True
        kind = "text/event-stream" if self._job.sse else self._job.format.media_type
        headers = {"content-type": kind, "cache-control": "no-store", **self._job.headers}
        if length is not None:
            headers["content-length"] = str(length)
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": pairs})

    async def _tell(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the error, if the format still allows it."""
        if not self._started:
            await answer(scope["path"], problem)(scope, receive, send)
        elif self._job.sse:
            body = _event({"type": "error", **as_openai(problem)})
            await send({"type": "http.response.body", "body": body, "more_body": False})
        # In other formats the missing end of the body tells the client.

    def _log(self, outcome: str) -> None:
        fields = self._timing.finish(outcome)
        log_event("speech", model=self._job.model, characters=self._job.characters, **fields)


@dataclass
class _Make:
    """Runs in the stream's thread: speaks, and encodes the bytes to send."""

    served: ServedModel
    job: Job
    timing: Timing

    def __call__(self, thread: Threaded[bytes]) -> Iterator[bytes]:
        request = self.job.prepare(self.served)
        if self.job.write_captions is not None:
            return self._captions(thread, request, self.job.write_captions)
        return self._audio(thread, request)

    def _captions(
        self,
        thread: Threaded[bytes],
        request: SpeechRequest,
        write: Callable[[list[SpokenWord]], str],
    ) -> Iterator[bytes]:
        words: list[SpokenWord] = []
        rate = self.served.model.sample_rate
        for samples in speak(self.served, request, thread.stopping, on_word=words.append):
            self.timing.audio_seconds += samples.shape[0] / rate
        if thread.stopping.is_set():
            raise _ending()
        yield write(words).encode()

    def _audio(self, thread: Threaded[bytes], request: SpeechRequest) -> Iterator[bytes]:
        rate = self.served.model.sample_rate
        encoder = open_encoder(self.job.format, rate, whole=self.job.whole)
        wrap = _delta if self.job.sse else bytes

        def tell_chunk(chunk: ChunkSpoken) -> None:
            if self.job.timestamps:
                thread.tell(_event(chunk_event(chunk, "speech.chunk")))

        def tell_word(word: SpokenWord) -> None:
            thread.tell(_event(word_event(word, "speech.word")))

        on_word = tell_word if self.job.timestamps else None
        try:
            for samples in speak(self.served, request, thread.stopping, tell_chunk, on_word):
                self.timing.audio_seconds += samples.shape[0] / rate
                if data := encoder.encode(samples):
                    yield wrap(data)
            if thread.stopping.is_set():
                raise _ending()
            tail = self.job.format.silence(rate)
            if data := encoder.encode(tail) + encoder.finish():
                yield wrap(data)
            if self.job.sse:
                yield _event(_done(self.job.characters, self.timing.audio_seconds))
        finally:
            encoder.close()


def _ending() -> Problem:
    return Problem(503, "The server is ending.", code="draining")


def chunk_event(chunk: ChunkSpoken, kind: str) -> dict[str, object]:
    """The event for a chunk whose audio is complete."""
    return {
        "type": kind,
        "index": chunk.index,
        "text": chunk.text,
        "start": round(chunk.start, 3),
        "end": round(chunk.end, 3),
        "complete": chunk.complete,
    }


def word_event(word: SpokenWord, kind: str) -> dict[str, object]:
    """The event for a word whose time is known."""
    return {
        "type": kind,
        "text": word.text,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "chunk": word.chunk,
        "characters": [word.first_character, word.last_character],
    }


def _delta(data: bytes) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})


def _done(characters: int, seconds: float) -> dict[str, object]:
    # OpenAI counts tokens; here they are characters of text and 80 ms frames of audio.
    frames = round(12.5 * seconds)
    usage = {
        "input_tokens": characters,
        "output_tokens": frames,
        "total_tokens": characters + frames,
    }
    return {"type": "speech.audio.done", "usage": usage}


def _event(fields: dict[str, object]) -> bytes:
    return f"data: {json.dumps(fields, ensure_ascii=False)}\n\n".encode()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
