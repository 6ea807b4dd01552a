"""What the gateway counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.config import STAGE_BUCKETS
from streamer.telemetry.families import gateway

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRANSPORTS = ("sse", "websocket")
"""How events travel."""

REASONS = ("left", "overflow", "refused", "stopped", "away")
"""Why an event stream ends."""

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
"""Others can be any word."""


class GatewayMetrics:
    """Clients, what they were sent and how soon, why they went; requests.

    Args:
        registry: Where.
        stage_buckets: Of times, in seconds.
    """

    def __init__(
        self, registry: CollectorRegistry, stage_buckets: Sequence[float] = STAGE_BUCKETS
    ) -> None:
        clients = gateway.CLIENTS.gauge(registry)
        self.clients = {transport: clients.labels(transport) for transport in TRANSPORTS}
        self.sent = gateway.EVENTS_SENT.counter(registry)
        self.delivery = gateway.DELIVERY.histogram(registry, stage_buckets)
        self.disconnects = gateway.DISCONNECTS.counter(registry)
        for reason in REASONS:
            self.disconnects.labels(reason)  # there from the start: a rate needs a first value
        self.gaps = gateway.GAPS.counter(registry)
        self.rewinds = gateway.REWINDS.counter(registry)
        self.requests = gateway.REQUESTS.counter(registry)


class Counted:
    """Counts what an app answers, by route.

    Args:
        app: What is within.
        metrics: Where.
    """

    def __init__(self, app: ASGIApp, *, metrics: GatewayMetrics) -> None:
        self._app = app
        self._requests = metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        answered = False

        async def send_counted(message: Message) -> None:
            nonlocal answered
            status = _status(message)
            if status is not None and not answered:
                answered = True
                self._requests.labels(_method(scope), _route(scope), str(status)).inc()
            await send(message)

        await self._app(scope, receive, send_counted)


def _status(message: Message) -> int | None:
    match message["type"]:
        case "http.response.start" | "websocket.http.response.start":
            return int(message["status"])
        case "websocket.accept":
            return 101
        case "websocket.close":  # before it was accepted: the server answers 403
            return 403
        case _:
            return None


def _method(scope: Scope) -> str:
    if scope["type"] == "websocket":
        return "WEBSOCKET"
    return scope["method"] if scope["method"] in METHODS else "other"


def _route(scope: Scope) -> str:
    """The template. The path itself could be anything."""
    return str(getattr(scope.get("route"), "path", ""))
