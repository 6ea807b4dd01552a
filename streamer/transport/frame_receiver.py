"""The frame path's encoder side in Redis."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from streamer.core.errors import TransportError
from streamer.core.feature import StatusNote
from streamer.transport.codec import StampWire, decode_path_entry
from streamer.transport.connection import read_entries, redis_errors
from streamer.transport.redis import raise_foreign
from streamer.transport.transport import Unreadable

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    import numpy as np
    import redis

    from streamer.core.frame import FrameStamp
    from streamer.transport.keys import Keys
    from streamer.transport.pixels import PixelReader
    from streamer.transport.transport import FrameHandle

MAX_READ = 16
"""Entries of one stream read at once."""


class _Handle:
    """A frame in the path; see `FrameHandle`."""

    __slots__ = ("_reader", "_wire", "position", "stamp")

    def __init__(self, position: int, wire: StampWire, reader: PixelReader) -> None:
        self.position = position
        self.stamp: FrameStamp = wire.stamp()
        self._wire = wire
        self._reader = reader

    def read_into(self, image: np.ndarray) -> bool:
        return self._reader.read_into(self._wire, image)


class RedisFrameReceiver:
    """Encoder side: reads the assigned streams, whichever way their pixels travel.

    Args:
        client: Its connection.
        keys: Key names.
        pixels: Fetches pixels.
    """

    def __init__(self, client: redis.Redis, *, keys: Keys, pixels: PixelReader) -> None:
        self._client = client
        self._keys = keys
        self._pixels = pixels
        self._positions: dict[str, int] = {}
        self._key_of: dict[str, str] = {}
        self._left_out: dict[str, float] = {}
        self._had: dict[str, tuple[str, int]] = {}

    def assign(self, stream_ids: set[str]) -> None:
        """Read exactly these streams from now on, each from its oldest waiting entry."""
        for gone in self._positions.keys() - stream_ids:
            del self._positions[gone]
            self._had.pop(gone, None)
            self._pixels.forget(gone)
        for stream_id in stream_ids - self._positions.keys():
            self._positions[stream_id] = 0
        self._key_of = {self._keys.frames(s): s for s in self._positions}

    def receive(
        self, *, timeout_seconds: float, paused: Container[str] = ()
    ) -> list[FrameHandle | StatusNote | Unreadable]:
        """What has come since; waits until there is something."""
        now = time.monotonic()
        starts = {
            key: self._positions[s]
            for key, s in self._key_of.items()
            if s not in paused and self._left_out.get(s, 0.0) <= now
        }
        if not starts:
            threading.Event().wait(timeout_seconds)
            return []
        try:
            read = read_entries(
                self._client, starts, limit=MAX_READ, timeout_seconds=timeout_seconds
            )
        except TransportError as error:
            raise_foreign(self._client, self._key_of, error)
            raise
        received: list[FrameHandle | StatusNote | Unreadable] = []
        for key, rows in read.items():
            stream_id = self._key_of[key]
            for position, payload, _ in rows:
                self._positions[stream_id] = position
                try:
                    entry = decode_path_entry(payload)
                except TransportError as error:
                    received.append(Unreadable(stream_id, position, payload, str(error)))
                    continue
                session, last = self._had.get(stream_id, ("", 0))
                if entry.session == session and position <= last:
                    continue  # it stands there again
                self._had[stream_id] = (entry.session, position)
                if isinstance(entry, StatusNote):
                    received.append(entry)
                else:
                    received.append(_Handle(position, entry, self._pixels))
        return received

    def doubt(self) -> None:
        """The connection was lost, and with it perhaps Redis' newest writes: read all there is.

        A source that is opened anew then may use positions that were used already.
        """
        self._positions = dict.fromkeys(self._positions, 0)

    def is_current(self, stream_id: str, session: str) -> bool:
        """Whether no other session has followed."""
        return self._had.get(stream_id, (session, 0))[0] == session

    def leave_out(self, stream_id: str, *, seconds: float) -> None:
        """Don't read a stream for a while: its key is not ours."""
        self._left_out[stream_id] = time.monotonic() + seconds

    def done(self, positions: Mapping[str, int]) -> None:
        """Remove what is encoded or dropped: a waiting source sees that there is room."""
        with redis_errors("trim frames"):
            pipeline = self._client.pipeline(transaction=False)
            for stream_id, position in positions.items():
                pipeline.xtrim(
                    self._keys.frames(stream_id), minid=f"{position}-1", approximate=False
                )
            pipeline.execute()

    def close(self) -> None:
        """Let go of the pixels."""
        self._pixels.close()
