"""The timelines of all streams, kept up to date from the feed: one fold for all clients."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec
import structlog

from streamer.client.continuity import Continuity, HoleReason
from streamer.client.log import EventLog, LoggedEvent
from streamer.client.timeline import Timeline
from streamer.core.errors import AccessDeniedError, TransportError
from streamer.core.event import decode_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis

    from streamer.client.cursor import EntryId
    from streamer.client.follower import Item
    from workers.gateway.feed import Feed

KEPT_SECONDS = 3_600.0
"""How far back the timelines reach."""

BACKFILL_EVENTS = 20_000
"""Entries read at the start, of all partitions together: about 1 kB each."""

WAIT_SECONDS = 5.0
RETRY_SECONDS = 1.0


class Board:
    """Folds the event log. Its timelines belong to the event loop that runs it.

    Attributes:
        timelines: By stream.
        complete: Whether the past has been read.
    """

    def __init__(self, feed: Feed, client: redis.Redis) -> None:
        self.timelines: dict[str, Timeline] = {}
        self.complete = False
        self._feed = feed
        self._client = client
        self._continuity = Continuity()

    def timeline(self, stream_id: str) -> Timeline | None:
        """What is known of a stream."""
        return self.timelines.get(stream_id)

    async def run(self) -> None:
        """Fold until the feed ends.

        Raises:
            TransportError: What stands in the log are no events.
        """
        while True:
            with self._feed.subscribed(is_client=False) as seam:
                subscriber = seam.subscriber
                try:
                    past = await asyncio.to_thread(self._past, seam.places)
                except TransportError as error:
                    if not (error.retryable or isinstance(error, AccessDeniedError)):
                        raise
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                self.timelines, self._continuity = {}, Continuity()
                for at in range(0, len(past), 500):
                    self._take(past[at : at + 500])
                    await asyncio.sleep(0)  # others are waiting for the loop
                self.complete = True
                while not subscriber.overflowed:
                    batches = await subscriber.take(timeout_seconds=WAIT_SECONDS)
                    if not batches and subscriber.closed:
                        return
                    for batch in batches:
                        self._take(batch.items)
                    self._forget()
            structlog.get_logger().warning("timelines fell behind; reading the log again")

    def _past(self, places: dict[int, EntryId]) -> list[Item]:
        """The newest entries up to these places, oldest first."""
        if not places:
            return []
        found = EventLog(self._client).look(places, count=BACKFILL_EVENTS // len(places))
        events = [event for rows, _ in found.values() for event in reversed(rows)]
        return [*sorted(events, key=lambda event: event.id)]

    def _take(self, items: Iterable[Item]) -> None:
        for item in items:
            if isinstance(item, LoggedEvent):
                self._take_event(item)
            else:
                self._continuity.rewind()

    def _take_event(self, logged: LoggedEvent) -> None:
        try:
            event = decode_event(logged.json)
        except msgspec.MsgspecError as error:
            structlog.get_logger().warning("event left out of timelines", error=str(error))
            return
        new, hole = self._continuity.take(event)
        timeline = self.timelines.setdefault(logged.stream_id, Timeline())
        if hole is not None and hole.reason in (HoleReason.MISSING, HoleReason.RESTARTED):
            timeline.close()
        if new:
            timeline.take(event)

    def _forget(self) -> None:
        oldest_ns = time.time_ns() - int(KEPT_SECONDS * 1e9)
        for stream_id, timeline in list(self.timelines.items()):
            timeline.forget(oldest_ns)
            if timeline.last_ns < oldest_ns and timeline.over:
                del self.timelines[stream_id]
