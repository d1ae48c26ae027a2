"""The settings of the server, from the command line."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from pocket_tts_jax.errors import ConfigError

OPENAI_VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")


@dataclass(frozen=True)
class ServerSettings:
    """host, port: where HTTP is served; port 0 takes a free one.

    api_key: what clients must send as `Authorization: Bearer`; needed for other hosts than this
        machine, unless `insecure`.
    hosts: further names of this server that clients may use. origins: web pages of other servers
        that may use it ("https://chat.example.org").
    voice: the voice of requests that name none; None takes each model's own.
    aliases: other names for voices; the key "openai" gives all of OpenAI's names to the value,
        or to the default voice where that is empty.
    allow_cloning: whether a recording may be uploaded as a voice.
    max_text: characters of one request. max_seconds: how long one may take.
    max_streams: number of requests that speak at once. max_waiting: number of others that wait.
    max_upload: bytes of a recording. patience: seconds after which a client that reads nothing,
        or sends no more text, is disconnected.
    wyoming: address for Wyoming, such as ("127.0.0.1", 10200); None disables it.
    drain: seconds that running streams have to finish after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = None
    insecure: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    voice: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    allow_cloning: bool = False
    max_text: int = 20_000
    max_seconds: float = 3600.0
    max_streams: int = 16
    max_waiting: int = 64
    max_upload: int = 10_000_000
    patience: float = 60.0
    wyoming: tuple[str, int] | None = None
    drain: float = 300.0
    log_text: bool = False

    def __post_init__(self) -> None:
        if self.api_key is not None and not self.api_key:
            raise ConfigError("--api-key is empty: give a key, or leave it out.")
        if not (is_local(self.host) or self.api_key or self.insecure):
            raise ConfigError(
                f"--host {self.host} lets other machines in: give --api-key KEY, which clients "
                "then must send, or --insecure if everybody who reaches the port may use it."
            )
        for name in ("max_text", "max_streams", "max_upload"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.max_waiting < 0:
            raise ConfigError(f"max_waiting must be 0 or more, got {self.max_waiting}.")


def is_local(host: str) -> bool:
    """Whether an address can be reached only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
