"""What a run left behind: its input, its events, its states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamer.transport.codec import read_entry
from streamer.transport.state_codec import decode_state
from streamer.transport.transport import LogEntry, Refusal, Unreadable
from tests.faults import aof

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import redis

    from streamer.transport.keys import Keys

Entries = dict[str, list[LogEntry | Unreadable]]
"""The input log by stream."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stream's checkpoint, as its exact bytes."""

    version: bytes
    position: int
    state: bytes

    @property
    def row(self) -> int:
        """The row it is stepped in."""
        return decode_state(self.state).row


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of a run.

    Attributes:
        entries: The input log.
        events: JSON of every event, in the log's order.
        stored: Final checkpoints by stream.
    """

    entries: Entries
    events: list[bytes]
    stored: dict[str, Stored]


def collect(
    client: redis.Redis,
    stream_ids: Sequence[str],
    *,
    keys: Keys,
    aof_file: Path | None = None,
) -> Evidence:
    """Take it from a server.

    Args:
        client: Straight to the server.
        stream_ids: All streams of the run.
        keys: Key names.
        aof_file: The server's whole history: input entries are taken from there, and so those
            trimmed since are told too. None takes what the log still has.
    """
    entries: Entries = {}
    stored = {}
    left_out = _left_out(client, keys)
    for stream_id in stream_ids:
        key = keys.features(stream_id)
        raw = _retained(client, key) if aof_file is None else _written(aof_file, key)
        entries[stream_id] = [
            Unreadable(stream_id, position, payload, left_out[key, position], Refusal.POISON)
            if (key, position) in left_out
            else read_entry(stream_id, position, payload)
            for position, payload in raw.items()
        ]
        checkpoint = read_stored(client, keys.state(stream_id))
        if checkpoint is not None:
            stored[stream_id] = checkpoint
    return Evidence(entries, read_events(client, keys), stored)


def encoded(evidence: Evidence, injected: Collection[tuple[str, int]]) -> Entries:
    """The input log without what was put into it by hand."""
    return {
        stream_id: [entry for entry in own if (stream_id, entry.position) not in injected]
        for stream_id, own in evidence.entries.items()
    }


def read_events(client: redis.Redis, keys: Keys) -> list[bytes]:
    """Every event, as a reader who comes late sees them."""
    rows: list[Any] = []
    for partition in range(keys.num_partitions):
        rows += client.xrange(keys.events(partition))  # type: ignore[arg-type]
    return [fields[b"event"] for _, fields in rows]


def read_stored(client: redis.Redis, key: str) -> Stored | None:
    """A stream's checkpoint."""
    version, position, state = client.hmget(key, "version", "position", "state")  # type: ignore[misc]
    return None if state is None else Stored(version, int(position), state)


def settled(client: redis.Redis, stream_ids: Sequence[str], *, keys: Keys) -> dict[str, str]:
    """Streams of which not everything admitted is folded in, and why; empty when drained."""
    waiting = {}
    for stream_id in stream_ids:
        last = client.hget(keys.source(stream_id), "last_us")
        position = client.hget(keys.state(stream_id), "position")
        if last is None or position is None or int(last) != int(position):
            waiting[stream_id] = f"folded up to {position!r} of {last!r}"
        elif frames := client.xlen(keys.frames(stream_id)):
            waiting[stream_id] = f"{frames} entries in the frame path"
    return waiting


def _left_out(client: redis.Redis, keys: Keys) -> dict[tuple[str, int], str]:
    """Entries that workers died of, and so were told to leave out: by key and position, why."""
    found = {}
    for partition in range(keys.num_partitions):
        rows: Any = client.xrange(keys.dead(partition))
        for _, fields in rows:
            if fields[b"reason"] == Refusal.POISON.encode():
                where = (fields[b"key"].decode(), int(fields[b"position"]))
                found[where] = fields[b"detail"].decode()
    return found


def _retained(client: redis.Redis, key: str) -> Mapping[int, bytes]:
    rows: Any = client.xrange(key)
    return {_position(entry_id): fields[b"e"] for entry_id, fields in rows}


def _written(file: Path, key: str) -> Mapping[int, bytes]:
    added = aof.entries_added(file, key.encode())
    return {_position(entry_id): payload for entry_id, payload in added.items()}


def _position(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
