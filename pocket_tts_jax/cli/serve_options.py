"""The options of `serve` about the network, limits and logs."""

from enum import StrEnum
from typing import Annotated

import typer

_NETWORK, _LIMITS, _LOG, _VOICES = "Network", "Limits", "Log", "Voices"


class LogFormat(StrEnum):
    """How events are written to stderr."""

    text = "text"
    json = "json"


def _network(*names: str, **settings: object) -> typer.models.OptionInfo:
    return typer.Option(*names, rich_help_panel=_NETWORK, **settings)  # type: ignore[arg-type]


def _limits(*names: str, **settings: object) -> typer.models.OptionInfo:
    return typer.Option(*names, rich_help_panel=_LIMITS, **settings)  # type: ignore[arg-type]


def _voices(*names: str, **settings: object) -> typer.models.OptionInfo:
    return typer.Option(*names, rich_help_panel=_VOICES, **settings)  # type: ignore[arg-type]


Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="NAME=FOLDER, or FOLDER alone: a model, an export, or the hf:// address of one; again "
        "for more, which are loaded when they are asked for. Default: the voice in this package.",
        rich_help_panel="Model",
    ),
]
Host = Annotated[
    str, _network("--host", help="Address to listen at. Others than this machine's need a key.")
]
Port = Annotated[int, _network("--port", min=0, max=65535, help="0 takes a free one.")]
ApiKey = Annotated[
    str | None,
    _network(
        "--api-key",
        envvar="POCKET_TTS_API_KEY",
        help="What clients must send as `Authorization: Bearer KEY`.",
    ),
]
Insecure = Annotated[
    bool, _network("--insecure", help="Let everybody in who reaches the port, without a key.")
]
AllowHost = Annotated[
    list[str] | None,
    _network("--allow-host", help="A name that clients call this server by; again for more."),
]
AllowOrigin = Annotated[
    list[str] | None,
    _network("--allow-origin", help="A web page that may use it (https://NAME); again for more."),
]
Wyoming = Annotated[
    str | None,
    _network("--wyoming", help="[HOST:]PORT for Home Assistant, 10200 say. It knows no key."),
]
DefaultVoice = Annotated[
    str | None,
    _voices("--default-voice", help="For requests that name none. Default: the model's."),
]
Alias = Annotated[
    list[str] | None,
    _voices(
        "--alias",
        help="NAME=VOICE, another name for a voice; again for more. openai, or openai=VOICE, "
        "stands for all of OpenAI's names.",
    ),
]
AllowCloning = Annotated[
    bool, _voices("--allow-cloning", help="Let clients upload a recording as the voice.")
]
MaxText = Annotated[int, _limits("--max-text", min=1, help="Characters of one request.")]
MaxSeconds = Annotated[float, _limits("--max-seconds", min=1, help="Time of one request.")]
MaxStreams = Annotated[int, _limits("--max-streams", min=1, help="Requests spoken at once.")]
MaxWaiting = Annotated[
    int, _limits("--max-waiting", min=0, help="Requests that may wait for that; then 429.")
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        help="Processes of one thread each that speak in place of the server's own (LiteRT). For "
        "many requests at once: one for each processor.",
        rich_help_panel="Running",
    ),
]
MaxMemory = Annotated[
    str | None,
    _limits("--max-memory", help="Memory above which unused models are unloaded: 800M, 2G."),
]
DrainSeconds = Annotated[
    float, _limits("--drain-seconds", min=0, help="Time to finish after SIGTERM.")
]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="Lines or JSON.", rich_help_panel=_LOG)
]
LogText = Annotated[
    bool, typer.Option("--log-text", help="Let texts of users into the log.", rich_help_panel=_LOG)
]
