"""Events straight from Redis, from every partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.client.cursor import Cursor
from streamer.client.follower import Follower
from streamer.client.gap import Gap, Rewind
from streamer.client.link import Entry, Missed, Position, Rewound
from streamer.client.log import EventLog
from streamer.transport.access import ANYBODY
from streamer.transport.connection import check_url, connect_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from streamer.client.filter import EventFilter
    from streamer.client.follower import Item
    from streamer.client.link import Message
    from streamer.transport.access import RedisAccess

BLOCK_SECONDS = 1.0
"""Longest wait inside one read."""


class RedisLink:
    """Reads the events keys. Needs only read access.

    Delivery: every entry after the cursor, in the order of its partition; a gap is stated, and so
    is a log that was rolled back, after which entries may come again.

    Args:
        url: As for `connect`.
        since: Where to begin: after a place, seconds ago, or None for new events only.
        wanted: Streams of other names are left out here.
        access: User, password and TLS files.

    Raises:
        ConfigError: The URL is not one of Redis, or a file of `access` can't be used.
    """

    def __init__(
        self,
        url: str,
        *,
        since: Cursor | float | None,
        wanted: EventFilter,
        access: RedisAccess = ANYBODY,
    ) -> None:
        check_url(url, of="events")
        access.options(url)  # a wrong file is told at once
        self._access = access
        self._url = url
        self._since = since
        self._wanted = wanted
        self._client: redis.Redis | None = None
        self._follower: Follower | None = None

    def messages(self, cursor: Cursor | None) -> Iterator[Message]:
        """Everything after the cursor, then what comes.

        A cursor other than None is the last one delivered here: what led to it is remembered.
        """
        self._client = connect_to_read(self._url, access=self._access, of="events")
        log = EventLog(self._client)
        if cursor is None or self._follower is None:
            self._follower = Follower(log)
            changes: list[Item] = [*self._follower.begin(self._since if cursor is None else cursor)]
        else:
            log.num_partitions = self._follower.log.num_partitions
            self._follower.log = log
            changes = [*self._follower.resume()]
        follower = self._follower
        for item in changes:
            yield self._told(item, follower.cursor)
        yield Position(follower.cursor)
        live = False
        while True:
            places = follower.places
            items = follower.read(wait_seconds=BLOCK_SECONDS if live else 0.0)
            for item in items:
                if isinstance(item, Gap | Rewind):
                    places |= item.resume
                else:
                    places[item.partition] = item.id
                    if not self._wanted.takes_stream(item.stream_id):
                        continue
                yield self._told(item, Cursor.of(places, num_partitions=log.num_partitions))
            if not items:
                live = True
                yield Position(follower.cursor, live=True)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def interrupt(self) -> None:
        """Nothing: a read waits for `BLOCK_SECONDS` at most."""

    def _told(self, item: Item, cursor: Cursor) -> Message:
        match item:
            case Gap():
                return Missed(cursor, item.reason)
            case Rewind():
                return Rewound(cursor)
            case event:
                return Entry(cursor, event.json)
