"""Do subscribers get their events?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.grafana.source.board import board, instance_variable
from deploy.grafana.source.panels import Query, heat, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

MINE = 'instance=~"$instance"'


def _quantile(quantile: float) -> str:
    which = f"{{{MINE}}}[$__rate_interval]"
    rate = f"sum by (le) (rate(streamer_gateway_delivery_seconds_bucket{which}))"
    return f"histogram_quantile({quantile}, {rate})"


def _clients() -> Sequence[Builder[Panel]]:
    """Who reads."""
    return [
        lines(
            "Clients",
            "Open event streams by transport.",
            Query(f"sum by (transport) (streamer_gateway_clients{{{MINE}}})", "{{transport}}"),
            unit="short",
            stacked=True,
            width=8,
        ),
        lines(
            "Events sent",
            "To all clients together.",
            Query(
                "sum by (instance) "
                f"(rate(streamer_gateway_events_sent_total{{{MINE}}}[$__rate_interval]))",
                "{{instance}}",
            ),
            unit="eps",
            width=8,
        ),
        lines(
            "Event streams that ended",
            "By reason, per minute. overflow: the client was too slow. away: Redis was.",
            Query(
                "60 * sum by (reason) "
                f"(rate(streamer_gateway_disconnects_total{{{MINE}}}[$__rate_interval]))",
                "{{reason}}",
            ),
            unit="cpm",
            width=8,
            runbooks=["GatewayOverflows"],
        ),
    ]


def _delivery() -> Sequence[Builder[Panel]]:
    """How events get to them."""
    return [
        heat(
            "Delivery",
            "From an event's arrival in the gateway to the client's socket.",
            f"streamer_gateway_delivery_seconds{{{MINE}}}",
            unit="s",
        ),
        lines(
            "Delivery, quantiles",
            "Comes on top of the event latency.",
            Query(_quantile(0.5), "p50"),
            Query(_quantile(0.95), "p95"),
            Query(_quantile(0.99), "p99"),
            unit="s",
        ),
        lines(
            "Gaps and rewinds of the event log",
            "Gaps: events a client asks for, or the gateway, are gone. Rewinds: Redis had lost its "
            "newest events.",
            Query(f"sum(rate(streamer_gateway_gaps_total{{{MINE}}}[$__rate_interval]))", "gaps"),
            Query(
                f"sum(rate(streamer_gateway_rewinds_total{{{MINE}}}[$__rate_interval]))",
                "rewinds",
            ),
            unit="ops",
        ),
    ]


def _requests() -> Sequence[Builder[Panel]]:
    """Everything else that is asked."""
    return [
        lines(
            "Requests by status",
            "401, 403: tokens. 429: above the limit of a token or an address. 5xx: ours.",
            Query(
                "sum by (status) "
                f"(rate(streamer_gateway_requests_total{{{MINE}}}[$__rate_interval]))",
                "{{status}}",
            ),
            unit="reqps",
            stacked=True,
        ),
        lines(
            "Requests by route",
            "The ten busiest.",
            Query(
                "topk(10, sum by (method, route) "
                f"(rate(streamer_gateway_requests_total{{{MINE}}}[$__rate_interval])))",
                "{{method}} {{route}}",
            ),
            unit="reqps",
        ),
    ]


def dashboard() -> Dashboard:
    """Clients, delivery, disconnects, requests."""
    return board(
        "streamer-delivery",
        "streamer / Delivery",
        "Do subscribers get their events, and how fast?",
        [("Clients", _clients()), ("Delivery", _delivery()), ("Requests", _requests())],
        variables=[instance_variable("gateway")],
    )
