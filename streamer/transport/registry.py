"""The desired sources, which all workers share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.core.errors import TransportError
from streamer.transport.connection import call, redis_errors

if TYPE_CHECKING:
    import redis

    from streamer.transport.keys import Keys


class StreamEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A desired source.

    Attributes:
        slot: A small number of its own, by which encoder workers share the streams evenly, and
            which decides the stream's row in the temporal model's batches.
        source: JSON of the source, without credentials.
        run: Whether a `streamer run` wants it, for as long as it lives.
        removed: Nobody wants it any more, but its end has not been said yet: some ingest worker
            will, and discard the entry.
        paused: Nobody is to read it until it is resumed.
        pause_said: Its events say that it is paused: no ingest worker has to any more.
    """

    slot: int
    source: msgspec.Raw
    run: bool = False
    removed: bool = False
    paused: bool = False
    pause_said: bool = False


MAX_SWAPS = 100
"""Each time a change comes too late, another has come through."""


class StreamRegistry:
    """Reads and writes the hash of desired sources.

    Every change of an entry is a compare-and-set: of several that change it at once, each sees what
    the one before has made of it, and no two streams get one slot.
    """

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._client = client
        self._key = keys.streams
        self._finished_key = keys.finished
        self._told: dict[str, bytes] = {}

    def read(self) -> tuple[dict[str, StreamEntry], dict[str, str]]:
        """All sources by stream id, removed ones too; and what is wrong with entries of others.

        A worker looks every second: what is wrong is told once.
        """
        entries, unreadable = {}, {}
        for stream_id, value in self._all().items():
            try:
                entries[stream_id] = self._entry(stream_id, value)
            except TransportError as error:
                if self._told.get(stream_id) != value:
                    unreadable[stream_id] = str(error)
                self._told[stream_id] = value
        return entries, unreadable

    def entries(self) -> dict[str, StreamEntry]:
        """All desired sources by stream id.

        Raises:
            TransportError: An entry is not one of ours.
        """
        self._told.clear()
        entries, unreadable = self.read()
        if unreadable:
            raise TransportError("; ".join(unreadable.values()), retryable=False)
        return {s: entry for s, entry in entries.items() if not entry.removed}

    def get(self, stream_id: str) -> StreamEntry | None:
        """A desired source, None if nobody wants one of that name.

        Raises:
            TransportError: It is not one of ours.
        """
        value = self._value(stream_id)
        entry = self._entry(stream_id, value) if value else None
        return None if entry is None or entry.removed else entry

    def finished(self) -> dict[str, bytes]:
        """By stream, the source that was read to its end: a file is read once."""
        with redis_errors("read finished streams"):
            raw: Any = self._client.hgetall(self._finished_key)
        return {name.decode(errors="replace"): source for name, source in raw.items()}

    def finish(self, stream_id: str, source: bytes) -> None:
        """A source was read to its end. Wanting it again has it read again."""
        with redis_errors("write finished stream"):
            self._client.hset(self._finished_key, stream_id, source)

    def put(self, stream_id: str, source: bytes, *, run: bool = False) -> None:
        """Want a source; one of that name is replaced and keeps its slot."""
        self._want(stream_id, source, run=run, replace=True)

    def add(self, stream_id: str, source: bytes, *, run: bool = False) -> StreamEntry | None:
        """Want a source. None if one of that name is wanted already.

        Raises:
            TransportError: Redis does not answer.
        """
        return self._want(stream_id, source, run=run, replace=False)

    def update(
        self, stream_id: str, *, source: bytes | None = None, paused: bool | None = None
    ) -> StreamEntry | None:
        """Change a desired source, pause or resume it. A file that is resumed begins anew.

        Args:
            stream_id: Which.
            source: What it is from now on; None: as it was.
            paused: Whether nobody is to read it; None: as it was.

        Returns:
            The entry now, None if nobody wants one of that name.
        """
        for _ in range(MAX_SWAPS):
            value = self._value(stream_id)
            entry = self._entry(stream_id, value) if value else None
            if entry is None or entry.removed:
                return None
            changed = msgspec.structs.replace(
                entry,
                source=entry.source if source is None else msgspec.Raw(source),
                paused=entry.paused if paused is None else paused,
            )
            if not changed.paused:
                changed = msgspec.structs.replace(changed, pause_said=False)
            if changed == entry or self._swap(stream_id, value, changed) == "done":
                if source is not None or (entry.paused and not changed.paused):
                    self._begin_anew(stream_id)
                return changed
        raise self._contended(stream_id)

    def remove(self, stream_id: str) -> bool:
        """No longer want a source. An ingest worker stops its camera and says its end.

        Returns:
            False if nobody wanted one of that name.
        """
        for _ in range(MAX_SWAPS):
            value = self._value(stream_id)
            if not value:
                self._begin_anew(stream_id)
                return False
            entry = self._entry(stream_id, value)
            over = stream_id in self.finished()
            removed = None if over else msgspec.structs.replace(entry, removed=True)
            if self._swap(stream_id, value, removed) == "done":
                if over:
                    self._begin_anew(stream_id)
                return not entry.removed
        raise self._contended(stream_id)

    def discard(self, stream_id: str, entry: StreamEntry) -> None:
        """The end of a removed stream has been said. One that is wanted again stays."""
        self._replace(stream_id, entry, None)

    def say_paused(self, stream_id: str, entry: StreamEntry) -> None:
        """That a stream is paused has been said. One that is resumed stays as it is."""
        self._replace(stream_id, entry, msgspec.structs.replace(entry, pause_said=True))

    def forget(self, stream_id: str) -> None:
        """Nothing is to be known of a source any more, and nothing said."""
        with redis_errors("remove stream"):
            self._client.hdel(self._key, stream_id)
        self._begin_anew(stream_id)

    def _want(
        self, stream_id: str, source: bytes, *, run: bool, replace: bool
    ) -> StreamEntry | None:
        for _ in range(MAX_SWAPS):
            values = self._all()
            value = values.pop(stream_id, b"")
            known = self._entry(stream_id, value) if value else None
            if known is not None and not known.removed and not replace:
                return None
            slot = known.slot if known else self._free_slot(values)
            entry = StreamEntry(slot=slot, source=msgspec.Raw(source), run=run)
            # First: a worker that sees the entry must not find that it is over.
            self._begin_anew(stream_id)
            if self._swap(stream_id, value, entry, check_slot=known is None) == "done":
                return entry
        raise self._contended(stream_id)

    def _free_slot(self, values: dict[str, bytes]) -> int:
        taken = set()
        for stream_id, value in values.items():
            with contextlib.suppress(TransportError):  # not one of ours has no slot
                taken.add(self._entry(stream_id, value).slot)
        return next(n for n in range(len(taken) + 1) if n not in taken)

    def _replace(self, stream_id: str, entry: StreamEntry, new: StreamEntry | None) -> None:
        # What stands there may have been written by another version, in other bytes.
        value = self._value(stream_id)
        if value and self._entry(stream_id, value) == entry:
            self._swap(stream_id, value, new)

    def _swap(
        self, stream_id: str, value: bytes, new: StreamEntry | None, *, check_slot: bool = False
    ) -> str:
        written = b"" if new is None else msgspec.json.encode(new)
        slot = new.slot if new is not None and check_slot else ""
        answer: bytes = call(self._client, "swap", [self._key], stream_id, value, written, slot)
        return answer.decode()

    def _begin_anew(self, stream_id: str) -> None:
        """Forget that it was read to its end."""
        with redis_errors("write finished stream"):
            self._client.hdel(self._finished_key, stream_id)

    def _value(self, stream_id: str) -> bytes:
        with redis_errors("read stream"):
            value: Any = self._client.hget(self._key, stream_id)
        return value or b""

    def _all(self) -> dict[str, bytes]:
        with redis_errors("read streams"):
            raw: Any = self._client.hgetall(self._key)
        return {name.decode(errors="replace"): value for name, value in raw.items()}

    def _entry(self, stream_id: str, value: bytes) -> StreamEntry:
        try:
            return msgspec.json.decode(value, type=StreamEntry)
        except msgspec.MsgspecError as error:
            raise TransportError(
                f"{self._key}: unreadable entry {stream_id} ({error})", retryable=False
            ) from error

    def _contended(self, stream_id: str) -> TransportError:
        return TransportError(
            f"{self._key}: {stream_id}: others changed it {MAX_SWAPS} times meanwhile; try again"
        )
