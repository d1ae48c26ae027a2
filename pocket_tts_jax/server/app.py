"""The application: routes, errors and middleware."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.resources import files
from itertools import chain
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from pocket_tts_jax import __version__
from pocket_tts_jax.server import openai_routes, reference_routes, websocket_route
from pocket_tts_jax.server.formats import FORMATS, open_encoder
from pocket_tts_jax.server.guard import Guard
from pocket_tts_jax.server.models import ModelShelf, ServedModel
from pocket_tts_jax.server.openai_routes import IGNORED, service_of
from pocket_tts_jax.server.problems import Problem, answer
from pocket_tts_jax.server.service import Service
from pocket_tts_jax.server.settings import ServerSettings
from pocket_tts_jax.server.speech import SpeechRequest, speak
from pocket_tts_jax.server.wyoming_server import WyomingServer

_PAGE = files("pocket_tts_jax.server").joinpath("page")
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_POLICY = "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; frame-ancestors 'none'"

page = APIRouter(include_in_schema=False)


def create_app(settings: ServerSettings, make_shelf: Callable[[], ModelShelf]) -> FastAPI:
    """The application of one server. `make_shelf` is called in its event loop."""
    app = FastAPI(
        title="pocket-tts-jax",
        version=__version__,
        description="Speech from text, on a CPU. OpenAI's routes, and those of pocket-tts.",
        lifespan=_lifespan(settings, make_shelf),
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            Problem: _on_problem,
            HTTPException: _on_http_error,
            RequestValidationError: _on_invalid,
        },
    )
    for router in (openai_routes.router, reference_routes.router, websocket_route.router, page):
        app.include_router(router)
    app.add_middleware(Guard, settings=settings)
    if settings.origins:  # outermost, so that allowed pages can read refusals
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[IGNORED, "Retry-After"],
        )
    return app


def _lifespan(
    settings: ServerSettings, make_shelf: Callable[[], ModelShelf]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = app.state.service = Service(settings, make_shelf())
        async with service.shelf.use(None) as served:
            await asyncio.to_thread(_speak_once, served, settings)
        wyoming = None
        if settings.wyoming is not None:
            wyoming = WyomingServer(service, *settings.wyoming)
            await wyoming.start()
        yield
        if wyoming is not None:
            await wyoming.stop()
        await service.stop()
        service.shelf.close()

    return lifespan


def _speak_once(served: ServedModel, settings: ServerSettings) -> None:
    """Load everything needed to speak, so that no client waits for it."""
    if settings.voice is None and not served.model.voice_names():
        return  # clients name or upload theirs
    voice = served.voice(settings.voice or served.model.default_voice())
    encoder = open_encoder(FORMATS["mp3"], served.model.sample_rate)
    places = len(served.model.engine.workers or [served])
    request = SpeechRequest("Ready.", voice)
    streams = [speak(served, request, threading.Event()) for _ in range(places)]
    first = [next(stream) for stream in streams]  # at the same time, and so one in each worker
    for samples in chain(first, *streams):
        encoder.encode(samples)
    encoder.close()


@page.get("/")
@page.get("/page/{name}")
async def show_page(name: str = "index.html") -> Response:
    """A file of the page."""
    known = {file.name for file in _PAGE.iterdir()}
    if name not in known:
        raise HTTPException(404)
    data = _PAGE.joinpath(name).read_bytes()
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type=_TYPES[name.rsplit(".", 1)[-1]], headers=headers)


@page.get("/docs")
async def show_docs() -> Response:
    """The API's documentation; a script of this server renders /openapi.json."""
    return await show_page("docs.html")


@page.get("/metrics")
async def show_metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(service_of(request).metrics.text(), media_type="text/plain; version=0.0.4")


async def _on_problem(request: Request, error: Any) -> Response:
    return answer(request.url.path, error)


async def _on_http_error(request: Request, error: Any) -> Response:
    problem = Problem(error.status_code, str(error.detail))
    response = answer(request.url.path, problem)
    response.headers.update(error.headers or {})
    return response


async def _on_invalid(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    return answer(request.url.path, Problem(400, f"{where}: {first['msg']}", where, "invalid"))
