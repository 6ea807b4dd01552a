"""The input log in Redis: one stream per camera, written by a function, read without groups."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from streamer.core.errors import ForeignKeysError, MemoryFullError, TransportError
from streamer.transport.codec import encode_input, encode_traces, read_entry
from streamer.transport.connection import Call, call, call_many, read_entries, redis_errors
from streamer.transport.transport import Opened, PublishAnswer, Published

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import redis

    from streamer.core.feature import InputEntry
    from streamer.transport.keys import Keys
    from streamer.transport.transport import LogEntry, Unreadable

MAX_UNREAD_ENTRIES = 3_000
"""Unread entries of one stream at which the log says FULL: five minutes at 10 a second."""

UNKNOWN_PREVIOUS = -1


class RedisStreamLog:
    """Write side of the input log.

    Delivery: exactly once. An entry whose position is not after the last accepted one is a
    duplicate, so that sending again is always safe. Nothing unread is ever evicted.

    Args:
        client: A connection.
        keys: Key names.
        max_unread: Entries of a stream at which the log is full.
        owner: Who holds the leases of the sources opened here; empty: their session.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        keys: Keys,
        max_unread: int = MAX_UNREAD_ENTRIES,
        owner: str = "",
    ) -> None:
        self._owner = owner
        self._client = client
        self._keys = keys
        self._max_unread = max_unread

    def open_source(
        self, stream_id: str, *, session: str, at_least_epoch: int = 1
    ) -> Opened | None:
        """Begin a new epoch; `session` is now the only one that may publish."""
        of = self._keys
        keys = [of.source(stream_id), of.frames(stream_id), of.watch(stream_id)]
        owner = self._owner or session
        answer = call(self._client, "open_source", keys, session, owner, at_least_epoch)
        return None if answer is None else Opened(*map(int, answer))

    def reclaim(self, stream_id: str, *, session: str, epoch: int) -> bool:
        """Own the stream again."""
        keys = [self._keys.source(stream_id), self._keys.watch(stream_id)]
        return bool(call(self._client, "reclaim", keys, session, self._owner or session, epoch))

    def folded_in(self, stream_id: str) -> bool:
        """Whether everything that was sent of a stream is in its state, notes too."""
        with redis_errors("read positions"):
            sent: Any = self._client.hget(self._keys.source(stream_id), "frame_us")
            folded: Any = self._client.hget(self._keys.state(stream_id), "position")
        return sent is None or int(folded or 0) >= int(sent)

    def publish(
        self, entries: Sequence[InputEntry], *, previous: Mapping[str, int]
    ) -> list[Published]:
        """Append entries, at most one per stream: one call for each partition, in one round trip.

        Raises:
            TransportError: Redis refused, or did not answer. When its memory is full, what is
                kept for replay only has been given up: it may go better next time.
        """
        groups = self._by_partition(entries)
        try:
            answers = call_many(self._client, [self._call(group, previous) for group in groups])
        except MemoryFullError:
            self._relieve(entries)
            raise
        by_stream = {
            entry.stream_id: _published(answer)
            for group, of_group in zip(groups, answers, strict=True)
            for entry, answer in zip(group, of_group, strict=True)
        }
        return [by_stream[entry.stream_id] for entry in entries]

    def _by_partition(self, entries: Sequence[InputEntry]) -> list[list[InputEntry]]:
        def partition(entry: InputEntry) -> int:
            return self._keys.partition(entry.stream_id)

        return [list(group) for _, group in groupby(sorted(entries, key=partition), partition)]

    def _call(self, entries: Sequence[InputEntry], previous: Mapping[str, int]) -> Call:
        keys: list[str] = []
        args: list[Any] = [self._max_unread]
        for entry in entries:
            stream_id = entry.stream_id
            keys += [
                self._keys.source(stream_id),
                self._keys.features(stream_id),
                self._keys.frames(stream_id),
                self._keys.state(stream_id),
            ]
            args += [
                entry.session,
                entry.epoch,
                entry.entry_us,
                previous.get(stream_id, UNKNOWN_PREVIOUS),
                encode_input(entry),
            ]
        traces = [encode_traces(entry) for entry in entries]
        if any(traces):
            args += traces
        return Call("publish", keys, args)

    def _relieve(self, entries: Sequence[InputEntry]) -> None:
        of = self._keys
        calls = [
            Call("relieve", [of.features(s), of.anchors(s), of.state(s)])
            for s in (entry.stream_id for entry in entries)
        ]
        call_many(self._client, calls)


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
        try:
            read = read_entries(self._client, starts, limit=limit, timeout_seconds=timeout_seconds)
        except TransportError as error:
            raise_foreign(self._client, stream_of, error)
            raise
        return {
            stream_of[key]: [read_entry(stream_of[key], *row) for row in rows]
            for key, rows in read.items()
        }


def raise_foreign(client: redis.Redis, stream_of: Mapping[str, str], error: TransportError) -> None:
    """After a read that failed for a wrong type: say whose key it is.

    Args:
        client: A connection.
        stream_of: By key that was read, its stream.
        error: How it failed.

    Raises:
        ForeignKeysError: These are the keys.
    """
    if "WRONGTYPE" not in str(error):
        return
    with redis_errors("find foreign keys"):
        kinds = {key: client.type(key) for key in stream_of}
    foreign = {stream_of[k]: k for k, kind in kinds.items() if kind not in (b"stream", b"none")}
    if foreign:
        raise ForeignKeysError(foreign) from error


def _published(answer: Any) -> Published:
    kind = PublishAnswer(answer[0].decode())
    if kind is PublishAnswer.FOREIGN:
        return Published(kind, 0, key=answer[1].decode())
    return Published(kind, int(answer[1]))
