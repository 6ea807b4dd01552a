"""One client's event stream: what it missed, then what comes, without a seam."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from streamer.client.cursor import START, Cursor
from streamer.client.follower import Follower
from streamer.client.gap import Gap, Rewind
from streamer.client.log import EventLog, LoggedEvent
from streamer.core.errors import TransportError
from workers.gateway.feed import MAX_BEHIND
from workers.gateway.message import (
    end_message,
    event_message,
    gap_message,
    heartbeat_message,
    hello_message,
    live_message,
    overflow_message,
    rewind_message,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import redis

    from streamer.client.cursor import EntryId
    from streamer.client.filter import EventFilter
    from streamer.client.follower import Item
    from workers.gateway.auth import Grant
    from workers.gateway.feed import Feed, Subscriber
    from workers.gateway.metrics import GatewayMetrics


class Session:
    """Makes the messages for one client.

    Delivery: every wanted entry after the client's cursor, once, in the order of its partition.
    What the log no longer has is stated by a `gap` message. After a `rewind` message, events may
    come again.

    Args:
        feed: The shared reader.
        client: A connection.
        wanted: Which events.
        metrics: Counts.
        heartbeat_seconds: Longest silence.
        grant: Ends the stream, with a message, when its token is no longer good.
    """

    def __init__(
        self,
        feed: Feed,
        client: redis.Redis,
        *,
        wanted: EventFilter,
        metrics: GatewayMetrics,
        heartbeat_seconds: float,
        grant: Grant,
    ) -> None:
        self._feed = feed
        self._past = Follower(EventLog(client))
        self._wanted = wanted
        self._metrics = metrics
        self._heartbeat_seconds = heartbeat_seconds
        self._grant = grant
        self._places: dict[int, EntryId] = {}
        self._from_now = True
        self._missing: list[Gap] = []

    @property
    def _position(self) -> Cursor:
        return Cursor.of(self._places, num_partitions=self._num_partitions)

    @property
    def _num_partitions(self) -> int:
        return max(len(self._places), 1)

    async def begin(self, since: Cursor | float | None, *, is_entry: bool = False) -> None:
        """Find the place to begin.

        Args:
            since: After this place, since so many seconds ago, or from now on.
            is_entry: Whether the place is that of entries this client was given.

        Raises:
            TransportError: Redis is away.
        """
        if since is not None:
            begin = self._past.begin
            self._missing = await asyncio.to_thread(begin, since, is_entry=is_entry)
            self._places = self._past.places
            self._from_now = False

    async def messages(self) -> AsyncGenerator[bytes]:
        """The whole stream. It ends early when Redis goes away: the client will come again."""
        self._metrics.clients.inc()
        try:
            # 1. Read the log page by page: a long past must not fill the live buffer.
            if not self._from_now:
                yield hello_message(self._position)
                if self._missing:
                    yield self._messages(self._missing)
                async for message in self._pages(until=None):
                    yield message
            with self._feed.subscribed() as (subscriber, seam):
                self._grant.on_end(subscriber.close)
                # 2. What came between the last page and the place from which the feed is ours.
                if self._from_now:
                    self._places = dict(seam)
                    yield hello_message(self._position)
                else:
                    async for message in self._pages(until=seam):
                        yield message
                if self._grant.end is None:
                    yield live_message(self._position)
                # 3. Everything after that place.
                async for message in self._live(subscriber):
                    yield message
            if self._grant.end is not None:
                yield end_message(self._grant.end)
        except TransportError as error:
            structlog.get_logger().warning("event stream ended", error=str(error))
        finally:
            self._metrics.clients.dec()

    async def _pages(self, *, until: dict[int, EntryId] | None) -> AsyncGenerator[bytes]:
        while (until is None or not self._is_past(until)) and self._grant.end is None:
            items = await asyncio.to_thread(self._past.read, wait_seconds=0.0)
            sent = self._messages(items)
            if sent:
                yield sent
            if not items:
                return

    def _is_past(self, places: dict[int, EntryId]) -> bool:
        return all(self._places.get(at, START) >= place for at, place in places.items())

    async def _live(self, subscriber: Subscriber) -> AsyncGenerator[bytes]:
        while self._grant.end is None:
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

    def _messages(self, items: Sequence[Item]) -> bytes:
        """The messages of these, for one write; none for an event that is not wanted."""
        messages = []
        for item in items:
            match item:
                case Gap():
                    self._places |= item.resume
                    at, num = self._position, self._num_partitions
                    messages.append(gap_message(item, at, num_partitions=num))
                case Rewind():
                    for partition, place in item.resume.items():
                        # It may not have come so far yet.
                        own = self._places.get(partition, START)
                        self._places[partition] = min(own, place)
                    at, num = self._position, self._num_partitions
                    messages.append(rewind_message(item, at, num_partitions=num))
                case LoggedEvent() if item.id > self._places.get(item.partition, START):
                    # Else the pages were ahead of the feed.
                    self._places[item.partition] = item.id
                    if self._wants(item):
                        self._metrics.sent.inc()
                        at = self._position
                        messages.append(event_message(at, type=item.type, json=item.json))
        return b"".join(messages)

    def _wants(self, event: LoggedEvent) -> bool:
        wanted = self._wanted
        return wanted.takes_stream(event.stream_id) and wanted.takes_type(event.type)
