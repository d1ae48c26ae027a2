"""The models of one server: loaded on demand, unloaded when memory is short."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psutil

from pocket_tts_jax.server.problems import Problem
from pocket_tts_jax.server.scheduler import Scheduler, scheduler_for
from pocket_tts_jax.server.settings import OPENAI_MODELS
from pocket_tts_jax.tts_model import TTSModel
from pocket_tts_jax.voice.state import VoiceState

Load = Callable[[], TTSModel]
_VOICES_KEPT = 32


def _resident_memory() -> int:
    """Bytes of this process, and what its workers have beside it."""
    process = psutil.Process()
    resident = process.memory_info().rss
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            resident += child.memory_full_info().uss
    return resident


@dataclass
class ServedModel:
    """A model in memory, with its voices and users."""

    name: str
    model: TTSModel
    scheduler: Scheduler
    users: int = 0
    last_used: float = 0.0
    _voices: dict[str, VoiceState] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def voice(self, name: str) -> VoiceState:
        """The voice `name`, which is read once. May block: do not call in the event loop."""
        with self._lock:
            if name not in self._voices:
                while len(self._voices) >= _VOICES_KEPT:
                    del self._voices[next(iter(self._voices))]
                self._voices[name] = self.model.get_state_for_audio_prompt(name)
            return self._voices[name]


class ModelShelf:
    """Models by name. The first one is the default; OpenAI's names refer to it too.

    `memory` is the limit of the process and its workers in bytes before a model is loaded: unused
    models are unloaded for it, the longest unused first. None is no limit.
    """

    def __init__(
        self,
        loaders: Mapping[str, Load],
        *,
        memory: int | None = None,
        resident: Callable[[], int] = _resident_memory,
    ) -> None:
        self._loaders, self._memory, self._resident = dict(loaders), memory, resident
        self._loaded: dict[str, ServedModel] = {}
        self._loading = asyncio.Lock()

    @property
    def names(self) -> list[str]:
        return list(self._loaders)

    @property
    def default(self) -> str:
        return self.names[0]

    @property
    def loaded(self) -> list[str]:
        return list(self._loaded)

    def resolve(self, name: str | None) -> str:
        """The model with this name. Raises Problem 404 for an unknown one."""
        if name is None or (name in OPENAI_MODELS and name not in self._loaders):
            return self.default
        if name not in self._loaders:
            raise Problem(
                404,
                f"The model {name!r} does not exist. This server has {', '.join(self.names)}.",
                "model",
                "model_not_found",
            )
        return name

    @asynccontextmanager
    async def use(self, name: str | None) -> AsyncIterator[ServedModel]:
        """The model, kept in memory during the block."""
        served = await self.take(name)
        try:
            yield served
        finally:
            self.give_back(served)

    async def take(self, name: str | None) -> ServedModel:
        """The model, kept in memory until `give_back`."""
        name = self.resolve(name)
        served = self._loaded.get(name)
        if served is None:
            async with self._loading:  # in turn: one may need the memory that another frees
                served = self._loaded.get(name) or await self._load(name)
        served.users += 1
        return served

    def give_back(self, served: ServedModel) -> None:
        served.users -= 1
        served.last_used = time.monotonic()

    async def _load(self, name: str) -> ServedModel:
        self._make_room(name)
        model = await asyncio.to_thread(self._loaders[name])
        served = ServedModel(name, model, scheduler_for(model.engine), last_used=time.monotonic())
        self._loaded[name] = served
        return served

    def _make_room(self, name: str) -> None:
        """Unload unused models until the process is below its limit."""
        while self._memory is not None and self._loaded and self._resident() >= self._memory:
            idle = [one for one in self._loaded.values() if one.users == 0]
            if not idle:
                raise Problem(
                    503,
                    f"There is no memory for the model {name!r} while the others are in use: try "
                    "again later, or start the server with a larger --max-memory.",
                    "model",
                    "out_of_memory",
                    retry_after=5,
                )
            oldest = min(idle, key=lambda one: one.last_used)
            del self._loaded[oldest.name]
            oldest.model.engine.close()
            del oldest, idle
            gc.collect()

    def close(self) -> None:
        """Free every model."""
        for served in self._loaded.values():
            served.model.engine.close()
        self._loaded.clear()
