"""One client's events: what it missed, then what comes, without a seam."""

from __future__ import annotations

import asyncio
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, Generic

import structlog

from streamer.client.cursor import START, Cursor
from streamer.client.follower import Follower
from streamer.client.gap import Gap
from streamer.client.log import EventLog
from streamer.core.errors import TransportError
from workers.gateway.batch import Written, write
from workers.gateway.message import (
    HEARTBEAT,
    HELLO,
    Chunk,
    Message,
    end_message,
    open_message,
    overflow_message,
)
from workers.gateway.subscriber import MAX_BEHIND

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from streamer.client.cursor import EntryId
    from streamer.client.filter import EventFilter
    from streamer.client.log import LoggedEvent
    from workers.gateway.auth import Grant
    from workers.gateway.batch import Batch
    from workers.gateway.context import Context
    from workers.gateway.feed import Seam
    from workers.gateway.message import Wire
    from workers.gateway.subscriber import Subscriber


class End(Enum):
    """Why a session ended."""

    LEFT = auto()
    """The client went."""
    OVERFLOW = auto()
    """The client was too slow."""
    STOPPED = auto()
    """The gateway stops."""
    REFUSED = auto()
    """The client's token is no longer good."""
    AWAY = auto()
    """Redis does not answer."""


class Session(Generic[Chunk]):
    """Makes the messages for one client.

    Delivery: every wanted entry after the client's cursor, once, in the order of its partition.
    What the log no longer has is stated by a `gap` message. After a `rewind` message, events may
    come again. A client that begins now is told of the open segments first.

    Args:
        context: Feed, connection, counts.
        wanted: Which events.
        grant: Ends the stream, with a message, when its token is no longer good.
        wire: How messages are written.
        transport: One of `TRANSPORTS`, for the counts.

    Attributes:
        end: Why the messages ended.
    """

    def __init__(
        self,
        context: Context,
        *,
        wanted: EventFilter,
        grant: Grant,
        wire: Wire[Chunk],
        transport: str,
    ) -> None:
        self.end = End.LEFT
        self._feed = context.feed
        self._past = Follower(EventLog(context.client))
        self._wanted = wanted
        self._grant = grant
        self._wire: Wire[Chunk] = wire
        self._metrics = context.metrics
        self._clients = context.metrics.clients[transport]
        self._subscriber: Subscriber | None = None
        self._heartbeat_seconds = context.heartbeat_seconds
        self._places: dict[int, EntryId] = {}
        self._from_now = True
        self._missing: list[Gap] = []

    @property
    def _position(self) -> str:
        return str(Cursor.of(self._places, num_partitions=max(len(self._places), 1)))

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

    async def messages(self) -> AsyncGenerator[Chunk]:
        """The whole stream. It ends early when Redis goes away: the client will come again."""
        self._clients.inc()
        try:
            # 1. Read the log page by page: a long past must not fill the live buffer.
            if not self._from_now:
                yield self._wire([Message(HELLO, id=self._position)])
                if self._missing:
                    self._metrics.gaps.inc(len(self._missing))
                    yield write(self._missing, self._places, self._wanted, self._wire).chunk
                async for chunk in self._pages(until=None):
                    yield chunk
            seam: Seam
            with self._feed.subscribed() as seam:
                self._subscriber = seam.subscriber
                self._grant.on_end(seam.subscriber.close)
                # 2. What came between the last page and the place from which the feed is ours.
                if self._from_now:
                    self._places = dict(seam.places)
                    yield self._wire([Message(HELLO), *self._open(seam.open)])
                else:
                    async for chunk in self._pages(until=seam.places):
                        yield chunk
                if self._grant.end is None:
                    yield self._wire([Message("live", id=self._position)])
                # 3. Everything after that place.
                async for chunk in self._live(seam.subscriber):
                    yield chunk
            if self._grant.end is not None:
                self.end = End.REFUSED
                yield self._wire([end_message(self._grant.end)])
        except TransportError as error:
            self.end = End.AWAY
            structlog.get_logger().warning("event stream ended", error=str(error))
        finally:
            self._clients.dec()
            # Who overflowed was counted by the feed.
            if self._subscriber is None or not self._subscriber.overflowed:
                self._metrics.disconnects.labels(self.end.name.lower()).inc()

    def _open(self, events: Sequence[LoggedEvent]) -> list[Message]:
        return [open_message(event.json) for event in events if self._wanted.takes(event)]

    async def _pages(self, *, until: Mapping[int, EntryId] | None) -> AsyncGenerator[Chunk]:
        while (until is None or not self._is_past(until)) and self._grant.end is None:
            items = await asyncio.to_thread(self._past.read, wait_seconds=0.0)
            self._metrics.gaps.inc(sum(isinstance(item, Gap) for item in items))
            written = write(items, self._places, self._wanted, self._wire)
            if written.chunk:
                self._metrics.sent.inc(written.num_events)
                yield written.chunk
            if not items:
                return

    def _is_past(self, places: Mapping[int, EntryId]) -> bool:
        return all(self._places.get(at, START) >= place for at, place in places.items())

    async def _live(self, subscriber: Subscriber) -> AsyncGenerator[Chunk]:
        while self._grant.end is None:
            batches = await subscriber.take(timeout_seconds=self._heartbeat_seconds)
            for batch in batches:
                written = self._written(batch)
                if written.chunk:
                    self._metrics.sent.inc(written.num_events)
                    yield written.chunk
                    # It is asked for more: the socket has taken this.
                    self._metrics.delivery.observe(time.monotonic() - batch.arrived_at)
            if batches:
                continue
            if subscriber.overflowed:
                self.end = End.OVERFLOW
                yield self._wire([overflow_message(max_behind=MAX_BEHIND)])
                return
            if subscriber.closed:
                self.end = End.STOPPED
                return
            yield self._wire([Message(HEARTBEAT, id=self._position)])

    def _written(self, batch: Batch) -> Written[Chunk]:
        if self._places == batch.before:
            self._places = batch.after
            return batch.written(self._wanted, self._wire)
        # It came ahead of the feed, by pages, or lost what lies between by an overflow.
        self._places = dict(self._places)
        return write(batch.items, self._places, self._wanted, self._wire)
