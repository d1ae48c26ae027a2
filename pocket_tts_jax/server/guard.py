"""Checks key, `Host`, `Origin` and size before a request is read."""

import asyncio
import hmac
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pocket_tts_jax.server.problems import Problem, answer
from pocket_tts_jax.server.settings import ServerSettings

_OPEN = ("/", "/health", "/docs", "/openapi.json")
_SMALL_BODY = 1_000_000  # bytes of a request that uploads nothing
_UPLOADS = "/tts"
# Names that are not resolved by public DNS: RFC 6762, 8375, 6761.
_LOCAL_ENDINGS = (".local", ".home.arpa", ".localhost", ".lan")


@dataclass
class Guard:
    """ASGI middleware around the whole application."""

    app: ASGIApp
    settings: ServerSettings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            self._check_origin(scope, headers)
            self._check_key(scope, headers)
            if scope["type"] == "http":
                receive = self._limited(scope, headers, receive)
        except Problem as problem:
            return await _refuse(problem, scope, receive, send)
        await self.app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        """Refuse unknown names in `Host`: a page of another site may make its own name resolve to
        this server in order to read its answers (DNS rebinding)."""
        host = _host_of(headers.get("host", ""))
        if not (host in self.settings.hosts or _is_own_name(host, self.settings.host)):
            raise Problem(
                403,
                f"This server does not go by the name {host[:80]!r}: start it with --allow-host "
                "NAME.",
                code="unknown_host",
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Refuse pages of other sites, which could send requests without reading the answers."""
        origin = headers.get("origin")
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        if origin is None or reads or origin in self.settings.origins:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise Problem(
                403,
                f"Pages of {origin[:80]!r} may not use this server: start it with --allow-origin.",
                code="unknown_origin",
            )

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        key, path = self.settings.api_key, scope["path"]
        if key is None or path in _OPEN or path.startswith("/page/"):
            return
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            return  # a browser's preflight request, which has no key
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode(), key.encode()
        ):
            raise Problem(
                401,
                "Send the server's key as `Authorization: Bearer KEY`.",
                code="invalid_api_key",
            )

    def _limited(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """`receive` with the limits of a body in bytes and time."""
        most = _SMALL_BODY
        if scope["path"] == _UPLOADS and self.settings.allow_cloning:
            most += self.settings.max_upload
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            raise Problem(413, f"The request is too large: it may have {most} bytes.")
        return _LimitedBody(receive, most, self.settings.patience)


class _LimitedBody:
    """`receive` with a limit of bytes and a timeout.

    Raises HTTPException, the only error that FastAPI passes on while it reads a body.
    """

    def __init__(self, receive: Receive, most: int, patience: float) -> None:
        self._receive, self._most, self._patience = receive, most, patience
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()  # waits for the end of the connection, without a timeout
        try:
            message = await asyncio.wait_for(self._receive(), self._patience)
        except TimeoutError:
            raise HTTPException(408, "The rest of the request did not come.") from None
        self._most -= len(message.get("body", b""))
        if self._most < 0:
            raise HTTPException(413, "The request is too large.")
        self._complete = not message.get("more_body", False)
        return message


def _host_of(header: str) -> str:
    """The name in a `Host` header, without port and brackets, in lower case."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_own_name(host: str, bound: str) -> bool:
    try:
        ipaddress.ip_address(host)
        return True  # an IP address needs no DNS
    except ValueError:
        pass
    if not host:
        return False
    single = "." not in host  # such as a container's name
    own = host in (bound.lower(), socket.gethostname().lower())
    return single or own or host.endswith(_LOCAL_ENDINGS)


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        return await answer(scope["path"], problem)(scope, receive, send)
    await receive()
    await send({"type": "websocket.close", "code": 1008, "reason": problem.message[:120]})
