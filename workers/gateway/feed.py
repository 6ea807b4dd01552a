"""The live feed: one reader of the event log for all clients, a bounded buffer for each."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from streamer.client.cursor import START, EntryId, Gap, LogRange, find_gap
from streamer.client.redis import checked
from streamer.core.errors import TransportError
from streamer.transport.connection import redis_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import redis.asyncio

    from workers.gateway.metrics import GatewayMetrics

MAX_BEHIND = 1_000
"""Events that may wait for one client. One that falls further behind is disconnected."""

MAX_TAKEN = 64
"""Events sent to a client in one write."""

BLOCK_SECONDS = 2.0
MAX_ENTRIES = 256
RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An entry of the event log. One object serves all clients."""

    id: EntryId
    type: str
    stream_id: str
    json: bytes

    @classmethod
    def of(cls, entry_id: bytes, fields: dict[bytes, bytes]) -> LoggedEvent:
        """From an entry as read."""
        return cls(
            EntryId.parse(entry_id.decode()),
            fields[b"type"].decode(),
            fields[b"stream"].decode(),
            fields[b"event"],
        )


class Subscriber:
    """What waits for one client."""

    def __init__(self) -> None:
        self._buffer: deque[LoggedEvent | Gap] = deque()
        self._news = asyncio.Event()
        self.overflowed = False
        self.closed = False

    def offer(self, items: Sequence[LoggedEvent | Gap]) -> bool:
        """Append, unless that is too much: then the client has overflowed, and gets no more."""
        if self.overflowed:
            return True
        if len(self._buffer) + len(items) > MAX_BEHIND:
            self.overflowed = True
            self._buffer.clear()
        else:
            self._buffer.extend(items)
        self._news.set()
        return not self.overflowed

    def close(self) -> None:
        """There will be no more."""
        self.closed = True
        self._news.set()

    async def take(self, *, timeout_seconds: float) -> list[LoggedEvent | Gap]:
        """The next ones; waits for the first. Empty after the time-out, or at the end."""
        if not self._buffer and not self.overflowed and not self.closed:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), timeout_seconds)
        return [self._buffer.popleft() for _ in range(min(len(self._buffer), MAX_TAKEN))]


class Feed:
    """Reads the log from its end on, and hands every entry to every subscriber.

    Args:
        client: A connection without retries of its own.
        key: The event log.
        metrics: Counts overflows.
    """

    def __init__(self, client: redis.asyncio.Redis, *, key: str, metrics: GatewayMetrics) -> None:
        self._client = client
        self._key = key
        self._metrics = metrics
        self._subscribers: set[Subscriber] = set()
        self._closed = False
        self.cursor = START
        self.connected = False

    @property
    def num_subscribers(self) -> int:
        """How many clients follow it now."""
        return len(self._subscribers)

    @contextlib.contextmanager
    def subscribed(self) -> Iterator[tuple[Subscriber, EntryId]]:
        """A subscriber that gets everything after the place returned, and nothing before it."""
        subscriber = Subscriber()
        self._subscribers.add(subscriber)
        if self._closed:
            subscriber.close()
        try:
            yield subscriber, self.cursor
        finally:
            self._subscribers.discard(subscriber)

    async def start(self) -> None:
        """Find the end of the log.

        Raises:
            TransportError: Redis does not answer.
        """
        *_, log = await self.page(START, count=0)
        self.cursor = log.last
        self.connected = True

    async def run(self) -> None:
        """Read until cancelled. Connects again for ever.

        Raises:
            TransportError: What stands in the log are no events.
        """
        while True:
            try:
                await self._resume()
                while True:
                    await self._read()
            except TransportError as error:
                if not error.retryable:
                    raise
                if self.connected:
                    structlog.get_logger().warning("event log lost", error=str(error))
                self.connected = False
                await self._client.connection_pool.disconnect()
                await asyncio.sleep(RETRY_SECONDS)

    async def page(
        self, cursor: EntryId, *, count: int = MAX_ENTRIES
    ) -> tuple[list[LoggedEvent], Gap | None, LogRange]:
        """At one moment: the entries after the cursor, what is missing before them, the log."""
        with redis_errors("read events"):
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.xinfo_stream(self._key)
                pipeline.xrange(self._key, str(cursor), "+", count=count + 1)
                answers: Any = await pipeline.execute(raise_on_error=False)
        info, rows = answers
        log = LogRange.of(info)
        events = [LoggedEvent.of(*row) for row in checked(self._key, rows)]
        present = bool(events) and events[0].id == cursor
        if present:
            del events[0]
        return events[:count], find_gap(cursor, log, present=present), log

    def close(self) -> None:
        """End all subscribers."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.close()

    async def _resume(self) -> None:
        _, gap, _ = await self.page(self.cursor, count=0)
        if gap is not None:
            self._hand_out([gap])
            self.cursor = gap.resume
        self.connected = True

    async def _read(self) -> None:
        start: Any = {self._key: str(self.cursor)}
        with redis_errors("read events"):
            answer: Any = await self._client.xread(
                start, count=MAX_ENTRIES, block=int(BLOCK_SECONDS * 1000)
            )
        if answer:
            events = [LoggedEvent.of(*row) for row in checked(self._key, answer[0][1])]
            # No await from here on: a subscriber added now would see the cursor and the entries.
            self._hand_out(events)
            self.cursor = events[-1].id

    def _hand_out(self, items: Sequence[LoggedEvent | Gap]) -> None:
        for subscriber in self._subscribers:
            if not subscriber.offer(items):
                self._metrics.overflows.inc()
