"""The gateway in this process, for tests of what it says."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from streamer.core.config import GatewaySettings, RedisSettings, Settings
from workers.gateway.metrics import GatewayMetrics
from workers.gateway.server import GatewayService

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def serving_events(redis_url: str, *, num_partitions: int = 1) -> Iterator[str]:
    """Its URL, while entered."""
    settings = Settings(
        redis=RedisSettings(url=redis_url, partitions=num_partitions),
        gateway=GatewaySettings(port=0),
    )
    service = GatewayService(settings, GatewayMetrics(CollectorRegistry()))
    try:
        service.start()
        yield f"http://127.0.0.1:{service.port}"
    finally:
        service.drain(deadline_seconds=10.0)
        service.close()
