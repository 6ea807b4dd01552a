"""One client's event stream: what it missed, then what comes, without a seam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.client.cursor import START, EntryId, Gap, find_gap, seconds_before
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
    from collections.abc import AsyncIterator

    import redis.asyncio

    from streamer.client.filter import EventFilter
    from workers.gateway.feed import Feed, LoggedEvent, Subscriber
    from workers.gateway.metrics import GatewayMetrics

HEARTBEAT_SECONDS = 15.0


class Session:
    """Makes the messages for one client.

    Delivery: every wanted entry after the client's cursor, once, in order. What the log no longer
    has is stated by a `gap` message.

    Args:
        feed: The shared reader.
        client: A connection.
        wanted: Which events.
        metrics: Counts.
    """

    def __init__(
        self,
        feed: Feed,
        client: redis.asyncio.Redis,
        *,
        wanted: EventFilter,
        metrics: GatewayMetrics,
    ) -> None:
        self._feed = feed
        self._client = client
        self._wanted = wanted
        self._metrics = metrics
        self._position = START

    async def messages(self, since: EntryId | float | None) -> AsyncIterator[bytes]:
        """The whole stream.

        Args:
            since: After this entry, since so many seconds ago, or from now on.

        Raises:
            TransportError: Redis is away before anything could be sent.
        """
        self._metrics.clients.inc()
        try:
            async for message in self._catch_up(since):
                yield message
            with self._feed.subscribed() as (subscriber, seam):
                # 2. What lies between the last page and the place from which the feed is ours.
                if since is None:
                    self._position = seam
                    yield hello_message(seam)
                async for message in self._pages(until=seam):
                    yield message
                yield live_message(self._position)
                # 3. Everything after that place.
                async for message in self._live(subscriber):
                    yield message
        finally:
            self._metrics.clients.dec()

    async def _catch_up(self, since: EntryId | float | None) -> AsyncIterator[bytes]:
        """1. Read the log page by page: a long past must not fill the live buffer."""
        if since is None:
            return
        gap = await self._begin(since)
        yield hello_message(self._position)
        if gap is not None:
            self._position = gap.resume
            yield gap_message(gap)
        async for message in self._pages(until=None):
            yield message

    async def _begin(self, since: EntryId | float) -> Gap | None:
        if isinstance(since, EntryId):
            self._position = since
            log, present = await self._feed.look(since)
            return find_gap(since, log, present=present)
        with redis_errors("read time"):
            now: Any = await self._client.time()
        log, _ = await self._feed.look(START)
        self._position = seconds_before(now, since, log)
        return find_gap(self._position, log, present=False)

    async def _pages(self, *, until: EntryId | None) -> AsyncIterator[bytes]:
        while until is None or self._position < until:
            page = await self._feed.page(self._position)
            for event in page:
                if until is not None and event.id > until:
                    return
                for message in self._of(event):
                    yield message
            if not page:
                return
            # The log may have been trimmed past us while the client was busy.
            log, present = await self._feed.look(self._position)
            gap = find_gap(self._position, log, present=present)
            if gap is not None:
                self._position = gap.resume
                yield gap_message(gap)

    async def _live(self, subscriber: Subscriber) -> AsyncIterator[bytes]:
        while True:
            items = await subscriber.wait(timeout_seconds=HEARTBEAT_SECONDS)
            for item in items:
                for message in self._of(item):
                    yield message
            if subscriber.overflowed:
                yield overflow_message(max_behind=MAX_BEHIND)
                return
            if subscriber.closed:
                return
            if not items:
                yield heartbeat_message(self._position)

    def _of(self, item: LoggedEvent | Gap) -> list[bytes]:
        """The messages of an item; none for an event that is not wanted."""
        if isinstance(item, Gap):
            self._position = item.resume
            return [gap_message(item)]
        self._position = item.id
        if not (self._wanted.takes_stream(item.stream_id) and self._wanted.takes_type(item.type)):
            return []
        self._metrics.sent.inc()
        return [event_message(item.id, type=item.type, json=item.json)]
