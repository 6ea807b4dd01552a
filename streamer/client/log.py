"""The event log in Redis: one stream of entries per partition, read without groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamer.client.cursor import EntryId
from streamer.client.gap import LogRange
from streamer.core.errors import TransportError
from streamer.transport.cluster import ClusterClient, read_streams
from streamer.transport.connection import redis_errors, translated
from streamer.transport.install import read_install
from streamer.transport.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import redis

MAX_ENTRIES = 256
"""Entries of one read, of all partitions together, as far as that can be."""

MIN_ENTRIES = 16
"""Entries of one read of one partition."""

POLL_SECONDS = 0.02
"""How often the partitions of a cluster are asked: a read can wait in one of them only."""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An entry of the event log. In the gateway one object serves all clients."""

    partition: int
    id: EntryId
    type: str
    stream_id: str
    json: bytes


class EventLog:
    """Reads the events keys. Needs only read access. Holds no place: threads may share it.

    Attributes:
        num_partitions: P, 1 until a worker has said it.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self.num_partitions = 1

    def refresh(self) -> None:
        """Read P. A server that has lost it is taken to have what it had."""
        install = read_install(self._client)
        if install is not None:
            self.num_partitions = install.partitions

    def now(self) -> tuple[int, int]:
        """The server's time: seconds and microseconds. Of a cluster, some server's."""
        with redis_errors("read time"):
            now: tuple[int, int] = self._client.time()
        return now

    def look(
        self, ends: Mapping[int, EntryId], *, count: int
    ) -> dict[int, tuple[list[LoggedEvent], LogRange]]:
        """By partition, the newest entries up to a place, newest first, and what the log has.

        No transaction, so that it is the same on a cluster: what is written in between is in the
        range and not among the entries; what is trimmed in between is among the entries, and the
        range says that it was trimmed. Who finds the entry at a place among the entries therefore
        knows that at that moment nothing after it was missing; and a gap that the range tells may
        be one entry too early, but is never overlooked.
        """
        pipeline = self._client.pipeline(transaction=False)
        for partition, end in ends.items():
            key = Keys().events(partition)
            pipeline.xrevrange(key, str(end), "-", count=count)
            pipeline.xinfo_stream(key)
        answers = self._execute(pipeline)
        found = {}
        for at, partition in enumerate(ends):
            rows, info = answers[2 * at : 2 * at + 2]
            if isinstance(rows, Exception):
                raise translated(rows, "read events")
            if isinstance(info, Exception) and "no such key" not in str(info):
                raise translated(info, "read events")
            found[partition] = (_events(partition, rows), LogRange.of(info))
        return found

    def back(self, ends: Mapping[int, EntryId], *, count: int) -> dict[int, list[LoggedEvent]]:
        """By partition, the newest entries up to a place, newest first."""
        pipeline = self._client.pipeline(transaction=False)
        for partition, end in ends.items():
            pipeline.xrevrange(Keys().events(partition), str(end), "-", count=count)
        answers = self._execute(pipeline)
        for answer in answers:
            if isinstance(answer, Exception):
                raise translated(answer, "read events")
        return {at: _events(at, rows) for at, rows in zip(ends, answers, strict=True)}

    def between(
        self, after: Mapping[int, EntryId], until: Mapping[int, EntryId], *, count: int
    ) -> dict[int, list[LoggedEvent]]:
        """By partition, the oldest entries after a place and up to another, in order."""
        pipeline = self._client.pipeline(transaction=False)
        for partition, place in after.items():
            key = Keys().events(partition)
            pipeline.xrange(key, f"({place}", str(until[partition]), count=count)
        answers = self._execute(pipeline)
        for answer in answers:
            if isinstance(answer, Exception):
                raise translated(answer, "read events")
        return {at: _events(at, rows) for at, rows in zip(after, answers, strict=True)}

    def find(self, partition: int, ids: Sequence[EntryId]) -> list[LoggedEvent | None]:
        """The entries with these ids; None for those that are not there."""
        pipeline = self._client.pipeline(transaction=False)
        for entry_id in ids:
            pipeline.xrange(Keys().events(partition), str(entry_id), str(entry_id))
        answers = self._execute(pipeline)
        for answer in answers:
            if isinstance(answer, Exception):
                raise translated(answer, "read events")
        return [next(iter(_events(partition, rows)), None) for rows in answers]

    def read(self, places: Mapping[int, EntryId], *, wait_seconds: float) -> list[LoggedEvent]:
        """Entries after a place in each partition, those of a partition in its order.

        Args:
            places: By partition, the last entry already read.
            wait_seconds: Longest wait for a first entry; 0 does not wait.
        """
        starts = {Keys().events(at): str(place) for at, place in places.items()}
        partitions = {Keys().events(at).encode(): at for at in places}
        limit = max(MIN_ENTRIES, MAX_ENTRIES // len(places))
        answer: Any
        with redis_errors("read events"):
            if isinstance(self._client, ClusterClient):
                answer = read_streams(
                    self._client,
                    starts,
                    limit=limit,
                    timeout_seconds=wait_seconds,
                    poll_seconds=POLL_SECONDS,
                )
            else:
                ids: Any = starts
                block_ms = int(wait_seconds * 1000) or None
                answer = self._client.xread(ids, count=limit, block=block_ms) or []
        events = [event for key, rows in answer for event in _events(partitions[key], rows)]
        # Of several partitions by arrival, as well as their servers' clocks tell.
        return sorted(events, key=lambda event: event.id)

    def _execute(self, pipeline: Any) -> list[Any]:
        with redis_errors("read events"):
            answers: list[Any] = pipeline.execute(raise_on_error=False)
        return answers


def _events(partition: int, rows: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> list[LoggedEvent]:
    """The rows, all of which must be events.

    Raises:
        TransportError: One is not.
    """
    events = []
    for entry_id, fields in rows:
        if not {b"stream", b"type", b"event"} <= fields.keys():
            raise TransportError(
                f"{Keys().events(partition)}: entry {entry_id.decode()} is no event; another "
                "program writes to this key",
                retryable=False,
            )
        events.append(
            LoggedEvent(
                partition,
                EntryId.parse(entry_id.decode()),
                fields[b"type"].decode(),
                fields[b"stream"].decode(),
                fields[b"event"],
            )
        )
    return events
