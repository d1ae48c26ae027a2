"""The command `serve`."""

import importlib.util
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pocket_tts_jax.cli import options, serve_options, signals
from pocket_tts_jax.cli.console import command, say
from pocket_tts_jax.errors import ConfigError

if TYPE_CHECKING:
    from pocket_tts_jax.tts_model import TTSModel

_PACKAGES = ("fastapi", "uvicorn", "multipart", "websockets", "prometheus_client", "av", "wyoming")
_UNITS = {"M": 10**6, "G": 10**9}


@command
def serve(
    models: serve_options.Models = None,
    language: options.Language = None,
    config: options.ConfigFile = None,
    checkpoint: options.Checkpoint = None,
    engine: options.Engine = options.EngineName.auto,
    quantize: options.Quantize = False,
    host: serve_options.Host = "127.0.0.1",
    port: serve_options.Port = 8000,
    api_key: serve_options.ApiKey = None,
    insecure: serve_options.Insecure = False,
    allow_host: serve_options.AllowHost = None,
    allow_origin: serve_options.AllowOrigin = None,
    wyoming: serve_options.Wyoming = None,
    default_voice: serve_options.DefaultVoice = None,
    alias: serve_options.Alias = None,
    allow_cloning: serve_options.AllowCloning = False,
    max_text: serve_options.MaxText = 20_000,
    max_seconds: serve_options.MaxSeconds = 3600.0,
    max_streams: serve_options.MaxStreams = 16,
    max_waiting: serve_options.MaxWaiting = 64,
    max_memory: serve_options.MaxMemory = None,
    drain_seconds: serve_options.DrainSeconds = 300.0,
    temperature: options.Temperature = None,
    sampler_decode_steps: options.DecodeSteps = 1,
    noise_clamp: options.NoiseClamp = None,
    eos_threshold: options.EosThreshold = None,
    threads: options.Threads = None,
    workers: serve_options.Workers = 0,
    offline: options.Offline = False,
    no_compilation_cache: options.NoCompilationCache = False,
    log_format: serve_options.LogFormatOption = serve_options.LogFormat.text,
    log_text: serve_options.LogText = False,
) -> None:
    """Serve speech over HTTP, WebSocket and Wyoming, with a web page."""
    _require_packages()
    from pocket_tts_jax.server.log import set_up_logging
    from pocket_tts_jax.server.models import ModelShelf
    from pocket_tts_jax.server.run import serve as run
    from pocket_tts_jax.server.settings import ServerSettings
    from pocket_tts_jax.tts_model import TTSModel

    settings = ServerSettings(
        host=host,
        port=port,
        api_key=api_key,
        insecure=insecure,
        hosts=tuple(name.lower() for name in allow_host or ()),
        origins=tuple(allow_origin or ()),
        voice=default_voice,
        aliases=_aliases(alias or []),
        allow_cloning=allow_cloning,
        max_text=max_text,
        max_seconds=max_seconds,
        max_streams=max_streams,
        max_waiting=max_waiting,
        wyoming=None if wyoming is None else _wyoming(wyoming),
        drain=drain_seconds,
        log_text=log_text,
    )
    load = partial(
        TTSModel.load_model,
        temp=temperature,
        sampler_decode_steps=sampler_decode_steps,
        noise_clamp=noise_clamp,
        eos_threshold=eos_threshold,
        quantize=quantize,
        engine=engine,
        threads=threads,
        workers=workers,
        offline=offline,
        compilation_cache=not no_compilation_cache,
    )
    loaders = _loaders(load, models or [], language, config, checkpoint)
    memory = None if max_memory is None else _bytes(max_memory)
    set_up_logging(log_format, log_text=log_text)
    run(
        settings,
        lambda: ModelShelf(loaders, memory=memory),
        lambda address: say(f"Serving {', '.join(loaders)} at {address}"),
        signals.handed_to,
    )


def _loaders(
    load: "Callable[..., TTSModel]",
    models: list[str],
    language: str | None,
    config: str | None,
    checkpoint: str | None,
) -> "dict[str, Callable[[], TTSModel]]":
    """What loads each model, by name; the first is the default."""
    loaders: dict[str, Callable[[], TTSModel]] = {}
    if language is not None or config is not None:
        name = language or Path(str(config)).stem
        loaders[name] = partial(load, language=language, config=config, checkpoint=checkpoint)
    elif checkpoint is not None:
        raise ConfigError("--checkpoint goes with --language or --config.")
    for given in models:
        name, separator, place = given.partition("=")
        if not separator or "/" in name:
            name, place = Path(given).expanduser().resolve().name, given
        if not name or not place or name in loaders:
            raise ConfigError(f"--model {given}: give each model a name, as in NAME=FOLDER.")
        loaders[name] = partial(load, model=place)
    return loaders or {"embedded": load}


def _aliases(given: list[str]) -> dict[str, str]:
    aliases = {}
    for text in given:
        name, _, voice = text.partition("=")
        if not name or (not voice and name != "openai"):
            raise ConfigError(f"--alias {text}: write NAME=VOICE, or openai.")
        aliases[name] = voice
    return aliases


def _wyoming(place: str) -> tuple[str, int]:
    """Host and port of "10200" or "0.0.0.0:10200"."""
    host, _, port = place.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"--wyoming {place}: write a port, or HOST:PORT.")
    return host or "127.0.0.1", int(port)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([MG])B?", text.upper())
    if match is None:
        raise ConfigError(f"--max-memory {text}: write 800M or 2G.")
    return round(float(match[1]) * _UNITS[match[2]])


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"The server needs more packages ({', '.join(missing)} missing): "
            '`pip install "pocket-tts-jax[serve]"`.'
        )
