"""What the gateway counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class GatewayMetrics:
    """Clients, events sent, clients that were too slow."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.clients = Gauge(
            "streamer_gateway_clients", "Connected event streams.", registry=registry
        )
        self.sent = Counter(
            "streamer_gateway_events_sent", "Events handed to clients.", registry=registry
        )
        self.overflows = Counter(
            "streamer_gateway_overflows",
            "Clients disconnected because they fell too far behind.",
            registry=registry,
        )
