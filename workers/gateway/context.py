"""What the routes work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from streamer.client.live import LiveViews
    from streamer.sources.guard import SourcePolicy
    from streamer.transport.keys import Keys
    from workers.gateway.access import Access
    from workers.gateway.board import Board
    from workers.gateway.feed import Feed
    from workers.gateway.metrics import GatewayMetrics
    from workers.gateway.previews import Previews

HEARTBEAT_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Made once, shared by all requests.

    Attributes:
        feed: The shared reader of the event log, started.
        client: A connection, for many threads.
        keys: Names of the install's keys.
        metrics: Counts.
        access: Who may come in.
        policy: What sources may be added.
        previews: Pictures of streams while somebody watches.
        board: Timelines of all streams.
        live: What each is doing now.
        corrections: File that corrections are appended to.
        latency_budget_seconds: What the page holds latencies against.
        heartbeat_seconds: Longest silence of an event stream.
        credentials_directory: Whose files sources that come over HTTP may have credentials in.
    """

    feed: Feed
    client: redis.Redis
    keys: Keys
    metrics: GatewayMetrics
    access: Access
    policy: SourcePolicy
    previews: Previews
    board: Board
    live: LiveViews
    corrections: Path
    latency_budget_seconds: float
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    credentials_directory: str | None = None
