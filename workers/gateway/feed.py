"""The live feed: one reader of the event log for all clients, a bounded buffer for each."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

import structlog

from streamer.client.follower import Follower
from streamer.client.gap import Rewind
from streamer.client.log import EventLog
from streamer.core.errors import TransportError
from streamer.transport.connection import reconnect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import redis

    from streamer.client.cursor import Cursor, EntryId
    from streamer.client.follower import Item
    from workers.gateway.metrics import GatewayMetrics

MAX_BEHIND = 1_000
"""Events that may wait for one client. One that falls further behind is disconnected."""

MAX_TAKEN = 64
"""Events sent to a client in one write."""

BLOCK_SECONDS = 0.5
"""Longest wait inside one read: a stop waits for it."""

RETRY_SECONDS = 0.5


class Subscriber:
    """What waits for one client."""

    def __init__(self) -> None:
        self._buffer: deque[Item] = deque()
        self._news = asyncio.Event()
        self.overflowed = False
        self.closed = False

    def offer(self, items: Sequence[Item]) -> bool:
        """Append, unless that is too much: then the client has overflowed, and gets no more.

        But for rewinds: without them it would resume after an entry that is gone.
        """
        if self.overflowed:
            return True
        if len(self._buffer) + len(items) > MAX_BEHIND:
            self.overflowed = True
            self._buffer = deque(i for i in (*self._buffer, *items) if isinstance(i, Rewind))
        else:
            self._buffer.extend(items)
        self._news.set()
        return not self.overflowed

    def close(self) -> None:
        """There will be no more."""
        self.closed = True
        self._news.set()

    async def take(self, *, timeout_seconds: float) -> list[Item]:
        """The next ones; waits for the first. Empty after the time-out, or at the end."""
        if not self._buffer and not self.overflowed and not self.closed:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout_seconds)
        return [self._buffer.popleft() for _ in range(min(len(self._buffer), MAX_TAKEN))]


class Feed:
    """Reads the log from its end on, and hands every entry to every subscriber.

    The reading is done in a thread, by what a subscriber in Python uses too: there is one way to
    follow a log, over all kinds of servers, and redis.asyncio would need a second one.

    Args:
        client: A connection of its own, without retries.
        metrics: Counts overflows.
    """

    def __init__(self, client: redis.Redis, *, metrics: GatewayMetrics) -> None:
        self._client = client
        self._metrics = metrics
        self._follower = Follower(EventLog(client))
        self._subscribers: set[Subscriber] = set()
        self._closed = False
        self.places: dict[int, EntryId] = {}
        self.cursor: Cursor = self._follower.cursor
        self.connected = False

    @property
    def num_subscribers(self) -> int:
        """How many clients follow it now."""
        return len(self._subscribers)

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[tuple[Subscriber, dict[int, EntryId]]]:
        """A subscriber that gets everything after the places returned, and nothing before them."""
        subscriber = Subscriber()
        self._subscribers.add(subscriber)
        if self._closed:
            subscriber.close()
        try:
            yield subscriber, self.places
        finally:
            self._subscribers.discard(subscriber)

    async def start(self) -> None:
        """Find the end of the log.

        Raises:
            TransportError: Redis does not answer.
        """
        await asyncio.to_thread(self._follower.begin, None)
        self._hand_out([])

    async def run(self) -> None:
        """Read until cancelled. Connects again for ever.

        Raises:
            TransportError: What stands in the log are no events.
        """
        while True:
            try:
                self._hand_out(await asyncio.to_thread(self._follower.resume))
                while True:
                    read = asyncio.to_thread(self._follower.read, wait_seconds=BLOCK_SECONDS)
                    self._hand_out(await read)
            except TransportError as error:
                if not error.retryable:
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

    def _hand_out(self, items: Sequence[Item]) -> None:
        # No await: a subscriber added in between would see the places and the entries.
        for subscriber in self._subscribers:
            if items and not subscriber.offer(items):
                self._metrics.overflows.inc()
        for item in items:
            if isinstance(item, Rewind):
                structlog.get_logger().warning("event log rolled back", partitions=[*item.resume])
        self.places, self.cursor = self._follower.places, self._follower.cursor
        self.connected = True
