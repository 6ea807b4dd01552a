"""One client's event stream: what it missed, then what comes, without a seam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from streamer.client.cursor import START, EntryId, Gap, seconds_before
from streamer.core.errors import TransportError
from streamer.transport.connection import redis_errors
from workers.gateway.feed import MAX_BEHIND
from workers.gateway.message import (
    event_message,
    gap_message,
    heartbeat_message,
    hello_message,
    live_message,
    overflow_message,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import redis.asyncio

    from streamer.client.filter import EventFilter
    from workers.gateway.feed import Feed, LoggedEvent, Subscriber
    from workers.gateway.metrics import GatewayMetrics


class Session:
    """Makes the messages for one client.

    Delivery: every wanted entry after the client's cursor, once, in order. What the log no longer
    has is stated by a `gap` message.

    Args:
        feed: The shared reader.
        client: A connection.
        wanted: Which events.
        metrics: Counts.
        heartbeat_seconds: Longest silence.
    """

    def __init__(
        self,
        feed: Feed,
        client: redis.asyncio.Redis,
        *,
        wanted: EventFilter,
        metrics: GatewayMetrics,
        heartbeat_seconds: float,
    ) -> None:
        self._feed = feed
        self._client = client
        self._wanted = wanted
        self._metrics = metrics
        self._heartbeat_seconds = heartbeat_seconds
        self._position: EntryId | None = None

    async def begin(self, since: EntryId | float | None) -> None:
        """Find the place to begin.

        Args:
            since: After this entry, since so many seconds ago, or from now on.

        Raises:
            TransportError: Redis is away.
        """
        if isinstance(since, EntryId):
            self._position = since
        elif since is not None:
            with redis_errors("read time"):
                now: Any = await self._client.time()
            *_, log = await self._feed.page(START, count=0)
            self._position = seconds_before(now, since, log)
        else:
            self._position = None

    async def messages(self) -> AsyncGenerator[bytes]:
        """The whole stream. It ends early when Redis goes away: the client will come again."""
        self._metrics.clients.inc()
        try:
            # 1. Read the log page by page: a long past must not fill the live buffer.
            if self._position is not None:
                yield hello_message(self._position)
                async for message in self._pages(until=None):
                    yield message
            with self._feed.subscribed() as (subscriber, seam):
                # 2. What came between the last page and the place from which the feed is ours.
                if self._position is None:
                    self._position = seam
                    yield hello_message(seam)
                async for message in self._pages(until=seam):
                    yield message
                yield live_message(self._position)
                # 3. Everything after that place.
                async for message in self._live(subscriber):
                    yield message
        except TransportError as error:
            structlog.get_logger().warning("event stream ended", error=str(error))
        finally:
            self._metrics.clients.dec()

    async def _pages(self, *, until: EntryId | None) -> AsyncGenerator[bytes]:
        assert self._position is not None
        while until is None or self._position < until:
            page, gap, _ = await self._feed.page(self._position)
            sent = self._messages([*([] if gap is None else [gap]), *page])
            if sent:
                yield sent
            if not page:
                return

    async def _live(self, subscriber: Subscriber) -> AsyncGenerator[bytes]:
        assert self._position is not None
        while True:
            items = await subscriber.take(timeout_seconds=self._heartbeat_seconds)
            sent = self._messages(items)
            if sent:
                yield sent
            elif subscriber.overflowed:
                yield overflow_message(max_behind=MAX_BEHIND)
                return
            elif subscriber.closed and not items:
                return
            elif not items:
                yield heartbeat_message(self._position)

    def _messages(self, items: Sequence[LoggedEvent | Gap]) -> bytes:
        """The messages of these, for one write; none for an event that is not wanted."""
        messages = []
        for item in items:
            if isinstance(item, Gap):
                self._position = item.resume
                messages.append(gap_message(item))
            elif self._position is None or item.id > self._position:
                # Else the pages were ahead of the feed.
                self._position = item.id
                if self._wants(item):
                    self._metrics.sent.inc()
                    messages.append(event_message(item.id, type=item.type, json=item.json))
        return b"".join(messages)

    def _wants(self, event: LoggedEvent) -> bool:
        wanted = self._wanted
        return wanted.takes_stream(event.stream_id) and wanted.takes_type(event.type)
