"""The input log in Redis: one stream per camera, written by a function, read without groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.core.errors import TransportError
from streamer.transport.codec import decode_input, encode_input
from streamer.transport.connection import Keys, call, read_entries
from streamer.transport.transport import LogEntry, Opened, PublishAnswer, Published, Unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import redis

    from streamer.core.feature import InputEntry

MAX_UNREAD_ENTRIES = 3_000
"""Unread entries of one stream at which the log says FULL: five minutes at 10 a second."""

UNKNOWN_PREVIOUS = -1


class RedisStreamLog:
    """Write side of the input log.

    Delivery: exactly once. An entry whose position is not after the last accepted one is a
    duplicate, so that sending again is always safe. Nothing unread is ever evicted.
    """

    def __init__(
        self, client: redis.Redis, *, keys: Keys, max_unread: int = MAX_UNREAD_ENTRIES
    ) -> None:
        self._client = client
        self._keys = keys
        self._max_unread = max_unread

    def open_source(self, stream_id: str, *, session: str) -> Opened:
        """Begin a new epoch; `session` is now the only one that may publish."""
        keys = [self._keys.source(stream_id), self._keys.frames(stream_id)]
        epoch, last = call(self._client, "open_source", keys, session)
        return Opened(epoch=int(epoch), last_us=int(last))

    def publish(
        self, entries: Sequence[InputEntry], *, previous: Mapping[str, int]
    ) -> list[Published]:
        """Append entries of one partition, at most one per stream, in one call."""
        keys: list[str] = []
        args: list[Any] = [self._max_unread]
        for entry in entries:
            stream_id = entry.stream_id
            keys += [
                self._keys.source(stream_id),
                self._keys.features(stream_id),
                self._keys.frames(stream_id),
            ]
            args += [
                entry.session,
                entry.entry_us,
                previous.get(stream_id, UNKNOWN_PREVIOUS),
                encode_input(entry),
            ]
        answers = call(self._client, "publish", keys, *args)
        return [Published(PublishAnswer(answer.decode()), int(last)) for answer, last in answers]


class RedisInputReader:
    """Read side of the input log: XREAD from positions that the reader keeps itself."""

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def read(
        self, positions: Mapping[str, int], *, timeout_seconds: float, limit: int
    ) -> dict[str, list[LogEntry | Unreadable]]:
        """Entries after each position, in order; waits until there is one."""
        stream_of = {self._keys.features(stream_id): stream_id for stream_id in positions}
        starts = {self._keys.features(s): position for s, position in positions.items()}
        read = read_entries(self._client, starts, limit=limit, timeout_seconds=timeout_seconds)
        return {
            stream_of[key]: [
                _entry(stream_of[key], position, payload) for position, payload in rows
            ]
            for key, rows in read.items()
        }


def _entry(stream_id: str, position: int, payload: bytes) -> LogEntry | Unreadable:
    try:
        return LogEntry(position, payload, decode_input(payload))
    except TransportError as error:
        return Unreadable(stream_id, position, payload, str(error))
