"""`python -m workers.gateway`: the gateway as a process."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING

from streamer.transport.tokens import RUN_TOKEN_VARIABLE, read_token_file
from workers.gateway.metrics import GatewayMetrics
from workers.gateway.server import GatewayService
from workers.main import main

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from streamer.core.config import Settings
    from streamer.telemetry.observer import Observer


def _is_news(record: logging.LogRecord) -> bool:
    """False for the traceback of a client that was cut off at the end: that has a line already."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def build(settings: Settings, _: Observer, registry: CollectorRegistry) -> GatewayService:
    """The service, with the chatter of its server turned down."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    # It warns of every write to a client that has just gone.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    # Taken out of the environment: nothing that is started from here gets it.
    run_token = os.environ.pop(RUN_TOKEN_VARIABLE, None)
    if run_token is None and settings.gateway.token_file is not None:
        run_token = read_token_file(settings.gateway.token_file, of="gateway.token_file")
    metrics = GatewayMetrics(registry, settings.metrics.stage_buckets)
    return GatewayService(settings, metrics, run_token=run_token)


if __name__ == "__main__":
    sys.exit(main("gateway", build))
