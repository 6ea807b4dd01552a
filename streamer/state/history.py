"""What Redis keeps of a stream's past: from it the newest events and states can be recomputed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from streamer.core.errors import StateError, TransportError
from streamer.state.redis import STORED_FIELDS, read_stored
from streamer.state.store import Stored
from streamer.transport.codec import read_entry
from streamer.transport.connection import redis_errors
from streamer.transport.transport import Refusal, Unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import redis

    from streamer.transport.keys import Keys
    from streamer.transport.transport import LogEntry

EVENTS_PER_READ = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A stream's past up to its checkpoint, as one look found it.

    Attributes:
        stream_id: The camera.
        stored: The checkpoint.
        anchors: Earlier checkpoints, oldest first; each one's position is right before the first
            entry folded in after it.
        entries: The input kept, up to the checkpoint; those left out as poison say so.
        lost_states: Bytes of states that could not be read, with the positions they stood at.
        model_ids: Every model that ever made a state here.
        last_event: Id of the event log's last entry: later ones may be newer than the checkpoint.
    """

    stream_id: str
    stored: Stored
    anchors: tuple[Stored, ...]
    entries: tuple[LogEntry | Unreadable, ...]
    lost_states: tuple[tuple[int, bytes], ...]
    model_ids: tuple[str, ...]
    last_event: tuple[int, int]


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An entry of the event log.

    Attributes:
        number: Its `sequence` field.
        id: Its `id` field.
        type: Its `type` field.
        json: The event.
    """

    number: int
    id: str
    type: str
    json: bytes


@dataclass(frozen=True, slots=True)
class LoggedEvents:
    """A stream's events, in the log's order.

    Attributes:
        events: From a number on, up to a checkpoint.
        trimmed: Whether the log does not reach back to that number.
    """

    events: tuple[LoggedEvent, ...]
    trimmed: bool


class RedisHistory:
    """Reads what commits have left. Writes nothing; workers may go on meanwhile."""

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def stream_ids(self) -> list[str]:
        """Every stream that has a state, sorted."""
        prefix, _, _ = self._keys.state("").partition("{")
        with redis_errors("find streams"):
            found = [key.decode() for key in self._client.scan_iter(match=f"{prefix}{{*}}:state:*")]
        names = (key.split(":state:", 1)[1] for key in found)
        return sorted(name for name in names if self._keys.state(name) in found)

    def model_ids(self) -> dict[str, str]:
        """By stream, the model that made its state."""
        stream_ids = self.stream_ids()
        with redis_errors("read models of streams"):
            pipeline = self._client.pipeline(transaction=False)
            for stream_id in stream_ids:
                pipeline.hget(self._keys.state(stream_id), "model")
            answers: list[Any] = pipeline.execute(raise_on_error=False) if stream_ids else []
            for answer in answers:
                if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
                    raise answer
        return {
            stream_id: answer.decode(errors="replace")
            for stream_id, answer in zip(stream_ids, answers, strict=True)
            if isinstance(answer, bytes)
        }

    def now_us(self) -> int:
        """The server's time, UTC microseconds."""
        with redis_errors("read time"):
            seconds, microseconds = self._client.time()
        return int(seconds) * 1_000_000 + int(microseconds)

    def read(self, stream_id: str) -> History:
        """A stream's past.

        Raises:
            StateError: There is none, or its keys are not ours.
        """
        of = self._keys
        partition = of.partition(stream_id)
        pipeline = self._client.pipeline(transaction=False)  # a cluster has no other
        # What is trimmed in between is always the oldest, so an anchor found after the features
        # has all of its features; what is appended in between lies after the checkpoint.
        pipeline.xrevrange(of.events(partition), count=1)
        pipeline.hmget(of.state(stream_id), *STORED_FIELDS)
        pipeline.xrange(of.features(stream_id))
        pipeline.xrange(of.anchors(stream_id))
        pipeline.xrange(of.dead(partition))
        pipeline.hkeys(of.models)
        with redis_errors("read history"):
            last, fields, features, anchors, dead, models = pipeline.execute()
        stored = read_stored(of.state(stream_id), fields)
        if isinstance(stored, StateError):
            raise stored
        letters = _letters(dead, key=of.features(stream_id))
        poison = {pos: detail for reason, pos, detail, _ in letters if reason == Refusal.POISON}
        entries = (
            read_entry(stream_id, position, row.get(b"e", b""))
            for position, row in ((_position(entry_id), row) for entry_id, row in features)
            if position <= stored.position
        )
        return History(
            stream_id=stream_id,
            stored=stored,
            anchors=tuple(
                _anchor(of.anchors(stream_id), entry_id, row)
                for entry_id, row in anchors
                if _position(entry_id) < stored.position
            ),
            entries=tuple(_without_poison(entry, poison, stream_id) for entry in entries),
            lost_states=tuple((pos, raw) for reason, pos, _, raw in letters if reason == "state"),
            model_ids=tuple(model.decode() for model in models),
            last_event=_id(last[0][0]) if last else (0, 0),
        )

    def events(self, history: History, *, first: int) -> LoggedEvents:
        """The logged events of a stream from a number on, up to its checkpoint."""
        key = self._keys.events(self._keys.partition(history.stream_id))
        found: list[LoggedEvent] = []
        end, reaches_back = "+", first >= history.stored.sequence
        while True:
            with redis_errors("read events"):
                rows: Any = self._client.xrevrange(key, max=end, count=EVENTS_PER_READ)
            for entry_id, fields in rows:
                event = _event(fields, stream_id=history.stream_id)
                if event is None:
                    continue
                if event.number >= history.stored.sequence and _id(entry_id) > history.last_event:
                    continue
                reaches_back = reaches_back or event.number == first
                if reaches_back and event.number < first:
                    return LoggedEvents(_from(first, found), trimmed=False)
                found.append(event)
                if reaches_back and event.number == 0:  # before it there was another life
                    return LoggedEvents(_from(first, found), trimmed=False)
            if len(rows) < EVENTS_PER_READ:
                break
            end = f"({rows[-1][0].decode()}"
        return LoggedEvents(_from(first, found), trimmed=not reaches_back and self._trimmed(key))

    def _trimmed(self, key: str) -> bool:
        """Whether entries fell out of the log by age or number; nobody of ours deletes one."""
        try:
            with redis_errors("read events"):
                info: Any = self._client.xinfo_stream(key)
        except TransportError as error:
            if "no such key" not in str(error):
                raise
            return False
        fewer = int(info["length"]) < int(info["entries-added"])
        return fewer and info["max-deleted-entry-id"] == b"0-0"


def _from(first: int, newest_first: Sequence[LoggedEvent]) -> tuple[LoggedEvent, ...]:
    """In the log's order, without the older ones that the last read also had."""
    events = list(reversed(newest_first))
    begin = next((i for i, event in enumerate(events) if event.number >= first), len(events))
    return tuple(events[begin:])


def _event(fields: Mapping[bytes, bytes], *, stream_id: str) -> LoggedEvent | None:
    number = fields.get(b"sequence", b"")
    if fields.get(b"stream") != stream_id.encode() or not number.isdigit():
        return None
    return LoggedEvent(
        int(number),
        fields.get(b"id", b"").decode(errors="replace"),
        fields.get(b"type", b"").decode(errors="replace"),
        fields.get(b"event", b""),
    )


def _anchor(key: str, entry_id: bytes, row: Mapping[bytes, bytes]) -> Stored:
    version, raw = row.get(b"version", b""), row.get(b"state", b"")
    position = str(_position(entry_id)).encode()
    found = read_stored(key, [version, position, b"0", None, raw])
    assert isinstance(found, Stored)
    return found if found.state is None else replace(found, sequence=found.state.sequence)


def _letters(dead: Any, *, key: str) -> list[tuple[str, int, str, bytes]]:
    """Reason, position, detail and bytes of a stream's dead letters."""
    return [
        (
            row[b"reason"].decode(),
            int(row[b"position"]),
            row[b"detail"].decode(errors="replace"),
            row[b"bytes"],
        )
        for _, row in dead
        if row.get(b"key") == key.encode()
    ]


def _without_poison(
    entry: LogEntry | Unreadable, poison: Mapping[int, str], stream_id: str
) -> LogEntry | Unreadable:
    why = poison.get(entry.position)
    if why is None or isinstance(entry, Unreadable):
        return entry
    return Unreadable(stream_id, entry.position, entry.payload, why, Refusal.POISON)


def _position(entry_id: bytes) -> int:
    return _id(entry_id)[0]


def _id(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, serial = entry_id.partition(b"-")
    return int(milliseconds), int(serial)
