"""A worker's health, served over HTTP from a thread of its own, so that a stuck loop shows."""

from __future__ import annotations

import sys
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Self
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any

    from prometheus_client import CollectorRegistry

STUCK_AFTER_SECONDS = 10.0
"""A loop that has not come round for so long is stuck."""


CLIENT_SECONDS = 10.0
"""A client that neither sends nor reads for so long is hung up on."""

WAITING_CONNECTIONS = 128
"""Not yet accepted. Beyond them a client's connection is made after a second or more."""


class Phase(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    READY = "ready"
    DISCONNECTED = "disconnected"
    """Alive, and trying: Redis does not answer."""
    DENIED = "denied"
    """Alive, and trying: Redis refuses what it asks."""
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Health:
    """What the probes report. Written by the worker's loop, read by the server's thread."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.remark = ""
        """What is not as it should be, although the worker works; a line."""
        self._beat = time.monotonic()

    def beat(self) -> None:
        """The loop came round."""
        self._beat = time.monotonic()

    @property
    def alive(self) -> bool:
        """False when the loop is stuck. Starting may take its time: a model is loaded."""
        return self.phase is Phase.STARTING or time.monotonic() - self._beat < STUCK_AFTER_SECONDS

    @property
    def ready(self) -> bool:
        """Whether work may be sent here."""
        return self.phase is Phase.READY and self.alive


class _Server(ThreadingWSGIServer):
    request_queue_size = WAITING_CONNECTIONS

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up, or hangs, is not worth a line."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _QuietHandler(WSGIRequestHandler):
    timeout = CLIENT_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """A scrape is not worth a line."""


class HealthServer:
    """Serves `/metrics`, `/livez` and `/readyz` while entered.

    Args:
        health: The worker's.
        registry: Its metrics.
        host: Address to bind.
        port: Port; 0 takes a free one.
    """

    def __init__(
        self, health: Health, registry: CollectorRegistry, *, host: str, port: int
    ) -> None:
        self._health = health
        self._metrics = make_wsgi_app(registry)
        try:
            self._server = make_server(host, port, self._app, _Server, handler_class=_QuietHandler)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"metrics: can't listen on {host}:{port} ({error}); choose another "
                "metrics port, or 0 for a free one"
            ) from error
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="health", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _app(self, environ: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                answer: Iterable[bytes] = self._metrics(environ, respond)
                return answer
            case "/livez":
                return _answer(respond, self._health, good=self._health.alive)
            case "/readyz":
                return _answer(respond, self._health, good=self._health.ready)
            case _:
                respond("404 Not Found", [("Content-Type", "text/plain")])
                return [b"expected /metrics, /livez or /readyz\n"]


def _answer(respond: Callable[..., Any], health: Health, *, good: bool) -> Iterable[bytes]:
    status = "200 OK" if good else "503 Service Unavailable"
    respond(status, [("Content-Type", "text/plain")])
    return [f"{line}\n".encode() for line in (health.phase.value, health.remark) if line]
