"""`python -m workers.gateway`: the gateway as a process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

import msgspec
import structlog

from streamer.core.errors import ConfigError, StreamerError
from streamer.runtime.health import Health, HealthServer, Phase
from streamer.runtime.worker import DRAIN_SECONDS, TURN_SECONDS, Ready, Stop
from streamer.telemetry.logs import configure_logs
from streamer.telemetry.prometheus import PrometheusObserver
from workers.gateway.metrics import GatewayMetrics
from workers.gateway.server import GatewayService
from workers.main import parse_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.config import Settings

ROLE = "gateway"


def _is_news(record: logging.LogRecord) -> bool:
    """False for the traceback of a client that was cut off at the end: that has a line already."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop. Exit code: 0 after a stop, 1 after a failure, 2 for settings."""
    try:
        settings, lifeline_fd = parse_arguments(ROLE, arguments)
        configure_logs(role=ROLE, level=settings.log.level, json=settings.log.json_lines)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        # It warns of every write to a client that has just gone.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        return _serve(settings, lifeline_fd)
    except ConfigError as error:
        print(f"streamer worker {ROLE}: {error}", file=sys.stderr)  # noqa: T201  # usage error
        return 2


def _serve(settings: Settings, lifeline_fd: int | None) -> int:
    """As `streamer.runtime.worker.serve`, which knows no port for clients."""
    log = structlog.get_logger()
    health, stop, registry = Health(), Stop(), PrometheusObserver().registry
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.on_signals())
        if lifeline_fd is not None:
            stop.on_lifeline(lifeline_fd)
        service = GatewayService(settings, GatewayMetrics(registry))
        stack.callback(service.close)
        server = stack.enter_context(
            HealthServer(health, registry, host=settings.metrics.host, port=settings.metrics.port)
        )
        try:
            service.start()
            health.phase = Phase.READY
            log.info("ready", port=service.port, metrics_port=server.port)
            if lifeline_fd is not None:
                ready = Ready(
                    role=ROLE, pid=os.getpid(), metrics_port=server.port, port=service.port
                )
                os.write(lifeline_fd, msgspec.json.encode(ready) + b"\n")
            while not stop.event.is_set():
                health.beat()
                service.turn(timeout_seconds=TURN_SECONDS)
            health.phase = Phase.DRAINING
            service.drain(deadline_seconds=DRAIN_SECONDS)
        except StreamerError as error:
            if isinstance(error, ConfigError):
                raise
            health.phase = Phase.FAILED
            log.error("failed", error=str(error))
            return 1
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
