"""The gateway in this process, for tests of what it says."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from streamer.core.config import GatewaySettings, RedisSettings, Settings
from workers.gateway.metrics import GatewayMetrics
from workers.gateway.server import GatewayService

if TYPE_CHECKING:
    from collections.abc import Iterator


TOKEN = "of-a-test"
"""Of every gateway that tests start, with all rights."""

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@contextlib.contextmanager
def serving_events(
    redis_url: str, *, num_partitions: int = 1, run_token: str | None = TOKEN, **gateway: Any
) -> Iterator[str]:
    """Its URL, while entered.

    Args:
        redis_url: Of the server.
        num_partitions: P.
        run_token: As of a run.
        gateway: Further settings.
    """
    settings = Settings(
        redis=RedisSettings(url=redis_url, partitions=num_partitions),
        gateway=GatewaySettings(port=0, **gateway),
    )
    service = GatewayService(settings, GatewayMetrics(CollectorRegistry()), run_token=run_token)
    try:
        service.start()
        scheme = "https" if settings.gateway.tls_certificate else "http"
        yield f"{scheme}://127.0.0.1:{service.port}"
    finally:
        service.drain(deadline_seconds=10.0)
        service.close()
