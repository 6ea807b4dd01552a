"""The live feed: one reader of the event log for all clients."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from streamer.client.follower import Follower
from streamer.client.gap import Gap, Rewind
from streamer.client.log import EventLog, LoggedEvent
from streamer.client.segments import OpenSegments
from streamer.core.errors import AccessDeniedError, TransportError
from streamer.transport.connection import reconnect
from workers.gateway.batch import Batch
from workers.gateway.scan import segments_before
from workers.gateway.subscriber import Subscriber

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import redis

    from streamer.client.cursor import Cursor, EntryId
    from streamer.client.follower import Item
    from streamer.client.segments import SegmentsBefore
    from workers.gateway.metrics import GatewayMetrics

BLOCK_SECONDS = 0.5
"""Longest wait inside one read: a stop waits for it."""

RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Seam:
    """Where a new client joins.

    Attributes:
        subscriber: Gets everything after the places, and nothing before them.
        places: By partition, the last entry that it will not get.
        open: The newest event of each segment open there.
    """

    subscriber: Subscriber
    places: dict[int, EntryId]
    open: tuple[LoggedEvent, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """Entries, and what was open before them in partitions that were not simply read on."""

    items: Sequence[Item]
    scanned: SegmentsBefore | None = None
    rescanned: frozenset[int] = frozenset()


class Feed:
    """Reads the log from its end on, and hands every entry to every subscriber.

    On the way it keeps which segments are open, so that this costs a new client nothing.

    The reading is done in a thread, by what a subscriber in Python uses too: there is one way to
    follow a log, over all kinds of servers, and redis.asyncio would need a second one.

    Args:
        client: A connection of its own, without retries.
        metrics: Counts overflows, gaps and rewinds.
    """

    def __init__(self, client: redis.Redis, *, metrics: GatewayMetrics) -> None:
        self._client = client
        self._metrics = metrics
        self._log = EventLog(client)
        self._follower = Follower(self._log)
        self._segments = OpenSegments()
        self._subscribers: set[Subscriber] = set()
        self._closed = False
        self.places: dict[int, EntryId] = {}
        self.cursor: Cursor = self._follower.cursor
        self.connected = False
        self.denied: AccessDeniedError | None = None
        """Why Redis does not let it read, if so."""

    @property
    def num_clients(self) -> int:
        """How many clients follow it now."""
        return sum(subscriber.is_client for subscriber in self._subscribers)

    @contextlib.contextmanager
    def subscribed(self, *, is_client: bool = True) -> Iterator[Seam]:
        """A subscriber while entered, and where it begins.

        Args:
            is_client: Whether it counts as one.
        """
        subscriber = Subscriber(is_client=is_client)
        self._subscribers.add(subscriber)
        if self._closed:
            subscriber.close()
        try:
            yield Seam(subscriber, self.places, self._segments.events)
        finally:
            self._subscribers.discard(subscriber)

    async def start(self) -> None:
        """Find the end of the log, and what is open there.

        Raises:
            TransportError: Redis does not answer.
        """
        self._hand_out(await asyncio.to_thread(self._begin))

    async def run(self) -> None:
        """Read until cancelled. Connects again for ever.

        Raises:
            TransportError: What stands in the log are no events.
        """
        while True:
            try:
                self._hand_out(await asyncio.to_thread(self._resume))
                while True:
                    self._hand_out(await asyncio.to_thread(self._read))
            except TransportError as error:
                self.denied = error if isinstance(error, AccessDeniedError) else None
                if not error.retryable and self.denied is None:
                    raise
                if self.connected:
                    structlog.get_logger().warning("event log lost", error=str(error))
                self.connected = False
                await asyncio.to_thread(reconnect, self._client)
                await asyncio.sleep(RETRY_SECONDS)

    def close(self) -> None:
        """End all subscribers."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.close()

    def _begin(self) -> _Read:
        self._follower.begin(None)
        places = self._follower.places
        return _Read([], segments_before(self._log, places), frozenset(places))

    def _resume(self) -> _Read:
        return self._with_segments(self._follower.resume())

    def _read(self) -> _Read:
        return self._with_segments(self._follower.read(wait_seconds=BLOCK_SECONDS))

    def _with_segments(self, items: Sequence[Item]) -> _Read:
        moved: dict[int, EntryId] = {}
        for item in items:
            if isinstance(item, Gap | Rewind):
                moved.update(item.resume)
        if not moved:
            return _Read(items)
        # What the lost entries opened or closed is open or closed no more.
        return _Read(items, segments_before(self._log, moved), frozenset(moved))

    def _hand_out(self, read: _Read) -> None:
        # No await: a subscriber added in between would see the places and the entries.
        before, self.places = self.places, self._follower.places
        self.cursor = self._follower.cursor
        if read.scanned is not None:
            self._segments.forget(read.rescanned)
            read.scanned.fold_into(self._segments)
        for item in read.items:
            if isinstance(item, LoggedEvent):
                self._segments.take(item)
            elif isinstance(item, Gap):
                self._metrics.gaps.inc()
            elif isinstance(item, Rewind):
                self._metrics.rewinds.inc()
                structlog.get_logger().warning("event log rolled back", partitions=[*item.resume])
        if read.items:
            batch = Batch(read.items, before=before, after=self.places)
            for subscriber in self._subscribers:
                if not subscriber.offer(batch) and subscriber.is_client:
                    # Now, and not when it has gone: it may not even read that.
                    self._metrics.disconnects.labels("overflow").inc()
        self.connected, self.denied = True, None
