"""Around the app: what a request may be, and what every response says to browsers."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from workers.gateway.problem import ProblemResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from streamer.core.config import GatewaySettings

BODY_SECONDS = 10.0
"""Longest time for a request's body to arrive."""

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address. A name other than localhost counts as no."""
    name = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def allowed_hosts(settings: GatewaySettings) -> frozenset[str] | None:
    """Names other than loopback ones that a `Host` header may have; None: any.

    On a loopback address it is none unless some are set: else a page from anywhere, whose name
    was made to point here (DNS rebinding), would be of the gateway's own origin.
    """
    if is_loopback(settings.host) or settings.host_names:
        return frozenset(name.lower() for name in settings.host_names)
    return None


class Shield:
    """Refuses requests that are too large or meant for another host; adds headers to responses.

    Args:
        app: What is within.
        hosts: As of `allowed_hosts`.
        max_body_bytes: Of a request.
        max_header_bytes: Of a request, with its path and query.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: frozenset[str] | None,
        max_body_bytes: int,
        max_header_bytes: int,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None and scope["type"] == "http" and _has_body(headers):
            try:
                receive = await self._whole_body(receive)
            except _RefusedError as refused:
                refusal = refused.response
            except _DisconnectedError:
                return
        if refusal is not None:
            # What is left of a refused body must not be taken for the next request.
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> ProblemResponse | None:
        size = len(scope["path"]) + len(scope["query_string"])
        size += sum(len(name) + len(value) for name, value in headers.raw)
        if size > self._max_header_bytes:
            detail = f"expected a head of at most {self._max_header_bytes} bytes, found {size}"
            return ProblemResponse(431, detail)
        host = _HOST.fullmatch(headers.get("host", ""))
        if host is None or len(headers.getlist("host")) != 1:
            return ProblemResponse(400, "expected one Host header with a name and maybe a port")
        name = host["name"].lower()
        if self._hosts is not None and name not in self._hosts and not is_loopback(name):
            return ProblemResponse(
                421, "expected a Host of this gateway: localhost, or a name in gateway.host_names"
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_body_bytes:
            return self._too_large()
        return None

    async def _whole_body(self, receive: Receive) -> Receive:
        """Read the body to its end, and give it to the app in one piece."""
        body = bytearray()
        more = True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _DisconnectedError
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._max_body_bytes:
                        raise _RefusedError(self._too_large())
        except TimeoutError:
            detail = f"the body did not arrive within {BODY_SECONDS:g} s"
            raise _RefusedError(ProblemResponse(408, detail)) from None
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return replay

    def _too_large(self) -> ProblemResponse:
        return ProblemResponse(413, f"expected a body of at most {self._max_body_bytes} bytes")


class _RefusedError(Exception):
    """The body can't be taken."""

    def __init__(self, response: ProblemResponse) -> None:
        super().__init__()
        self.response = response


class _DisconnectedError(Exception):
    """The client has gone before its request was complete."""


def _has_body(headers: Headers) -> bool:
    return "content-length" in headers or "transfer-encoding" in headers
