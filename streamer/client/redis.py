"""Events straight from Redis: XREAD, without groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamer.client.cursor import START, EntryId, LogRange, find_gap, seconds_before
from streamer.client.link import Entry, Position
from streamer.core.errors import ConfigError, TransportError
from streamer.transport.connection import SOCKET_TIMEOUT_SECONDS, Keys, redis_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.client.cursor import Gap
    from streamer.client.filter import EventFilter
    from streamer.client.link import Message

BLOCK_SECONDS = 2.0
"""Longest wait inside one XREAD."""

MAX_ENTRIES = 256
"""Entries of one XREAD."""


class RedisLink:
    """Reads the events key. Needs only read access.

    Delivery: every entry after the cursor once per connection, in order.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        since: Where to begin: an entry, seconds ago, or None for new events only.
        wanted: Streams of other names are left out here.

    Raises:
        ConfigError: The URL is not one of Redis.
    """

    def __init__(self, url: str, *, since: EntryId | float | None, wanted: EventFilter) -> None:
        try:
            self._client = redis.Redis.from_url(
                url,
                retry=Retry(NoBackoff(), 0),
                retry_on_error=[],
                socket_timeout=SOCKET_TIMEOUT_SECONDS,
                socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
                protocol=2,
            )
        except ValueError as error:
            raise ConfigError(
                "events: expected redis://HOST:PORT or unix:///PATH, found something else"
            ) from error
        self._since = since
        self._wanted = wanted
        self._key = Keys().events(0)

    def messages(self, cursor: EntryId | None) -> Iterator[Message]:
        """Everything after the cursor, then what comes."""
        cursor, gap = self._begin() if cursor is None else (cursor, self._gap(cursor))
        if gap is not None:
            cursor = gap.resume
            yield gap
        yield Position(cursor)
        live = False
        while True:
            rows = self._read(cursor, wait_seconds=BLOCK_SECONDS if live else 0.0)
            for raw_id, fields in rows:
                cursor = EntryId.parse(raw_id.decode())
                if self._wanted.takes_stream(fields[b"stream"].decode()):
                    yield Entry(cursor, fields[b"event"])
            if not rows:
                live = True
                yield Position(cursor, live=True)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _begin(self) -> tuple[EntryId, Gap | None]:
        if self._since is None:
            return self._look(START)[0].last, None
        if isinstance(self._since, EntryId):
            return self._since, self._gap(self._since)
        with redis_errors("read time"):
            now: Any = self._client.time()
        log, _ = self._look(START)
        start = seconds_before(now, self._since, log)
        return start, find_gap(start, log, present=False)

    def _gap(self, cursor: EntryId) -> Gap | None:
        log, present = self._look(cursor)
        return find_gap(cursor, log, present=present)

    def _look(self, cursor: EntryId) -> tuple[LogRange, bool]:
        """The log, and whether the entry at the cursor is in it, at one moment."""
        with redis_errors("read events"):
            pipeline = self._client.pipeline(transaction=True)
            pipeline.xinfo_stream(self._key)
            pipeline.xrange(self._key, str(cursor), str(cursor), count=1)
            info, found = pipeline.execute(raise_on_error=False)
        return LogRange.of(info), bool(found)

    def _read(
        self, cursor: EntryId, *, wait_seconds: float
    ) -> list[tuple[bytes, dict[bytes, bytes]]]:
        start: Any = {self._key: str(cursor)}
        block_ms = int(wait_seconds * 1000) or None
        with redis_errors("read events"):
            answer: Any = self._client.xread(start, count=MAX_ENTRIES, block=block_ms)
        return checked(self._key, answer[0][1]) if answer else []


def checked(
    key: str, rows: list[tuple[bytes, dict[bytes, bytes]]]
) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The rows, all of which must be events.

    Raises:
        TransportError: One is not.
    """
    for entry_id, fields in rows:
        if not {b"stream", b"type", b"event"} <= fields.keys():
            raise TransportError(
                f"{key}: entry {entry_id.decode()} is no event; another program writes to this key",
                retryable=False,
            )
    return rows
