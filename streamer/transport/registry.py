"""The desired sources: what users want watched, in one hash that every ingest worker reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from streamer.core.errors import TransportError
from streamer.transport.connection import Keys, redis_errors

if TYPE_CHECKING:
    import redis


class StreamEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A desired source.

    Attributes:
        slot: A small number of its own, by which encoder workers share the streams evenly.
        source: JSON of the source, without credentials.
        run: Whether a `streamer run` wants it, for as long as it lives.
    """

    slot: int
    source: msgspec.Raw
    run: bool = False


class StreamRegistry:
    """Reads and writes the hash of desired sources."""

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._client = client
        self._key = keys.streams

    def entries(self) -> dict[str, StreamEntry]:
        """All desired sources by stream id.

        Raises:
            TransportError: An entry is not one of ours.
        """
        with redis_errors("read streams"):
            raw: Any = self._client.hgetall(self._key)
        try:
            return {
                stream_id.decode(): msgspec.json.decode(value, type=StreamEntry)
                for stream_id, value in raw.items()
            }
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TransportError(f"{self._key}: unreadable entry ({error})") from error

    def put(self, stream_id: str, source: bytes, *, run: bool = False) -> None:
        """Want a source; one of that name is replaced and keeps its slot."""
        entries = self.entries()
        taken = {entry.slot for entry in entries.values()}
        known = entries.get(stream_id)
        slot = known.slot if known else next(n for n in range(len(taken) + 1) if n not in taken)
        value = msgspec.json.encode(StreamEntry(slot=slot, source=msgspec.Raw(source), run=run))
        with redis_errors("write stream"):
            self._client.hset(self._key, stream_id, value)

    def remove(self, stream_id: str) -> None:
        """No longer want a source."""
        with redis_errors("remove stream"):
            self._client.hdel(self._key, stream_id)
