"""The frame path through Redis: descriptors, or whole frames, one stream per camera."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING

from streamer.core.feature import StatusNote
from streamer.telemetry.observer import FramesSent
from streamer.transport.codec import (
    StampWire,
    decode_path_entry,
    encode_note,
    encode_stamp,
)
from streamer.transport.connection import Keys, read_entries, redis_errors

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    import numpy as np
    import redis

    from streamer.core.frame import Frame, FrameStamp
    from streamer.transport.pixels import PixelReader, PixelStore
    from streamer.transport.transport import FrameHandle

NUM_SLOTS = 8
"""Frames of one camera between ingest and encoder: 0.8 s at 10 a second."""

_POLL_WHILE_WAITING_SECONDS = 0.005


class RedisFrameSender:
    """Ingest side. Cameras queue; the worker's loop moves what is queued in one round trip.

    Delivery: at most once. Of a live camera the newest `num_slots` frames wait for the encoder,
    an older one is lost and shows as a hole in seq. A recorded source waits for room.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        keys: Keys,
        pixels: PixelStore,
        num_slots: int = NUM_SLOTS,
    ) -> None:
        self._client = client
        self._keys = keys
        self._pixels = pixels
        self._num_slots = num_slots
        self._changed = threading.Condition()
        self._queue: deque[tuple[str, int, bytes, float | None]] = deque()
        self._queued: Counter[str] = Counter()
        self._outstanding: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._closed = False

    def send(self, frame: Frame, *, wait: bool) -> bool:
        """Queue a frame; the pixels are stored at once."""
        stream_id = frame.stamp.stream_id
        if wait and not self._wait_for_room(stream_id):
            return False
        wire = self._pixels.put(frame)
        stamp = frame.stamp
        return self._enqueue(stream_id, stamp.entry_us, encode_stamp(wire), stamp.decode_seconds)

    def note(self, note: StatusNote) -> None:
        """Queue a note."""
        self._enqueue(note.stream_id, note.entry_us, encode_note(note), None)

    def flush(self, *, timeout_seconds: float) -> FramesSent | None:
        """Send what is queued, in one pipeline. Waits for the first entry."""
        with self._changed:
            if not self._queue:
                some_wait = any(self._waiting.values())
                self._changed.wait(_POLL_WHILE_WAITING_SECONDS if some_wait else timeout_seconds)
            queued = list(self._queue)
            waiting = [stream_id for stream_id, count in self._waiting.items() if count]
        if not queued and not waiting:
            return None
        self._send(queued, waiting)
        sent = {(stream_id, entry_us) for stream_id, entry_us, *_ in queued}
        with self._changed:
            while self._queue and self._queue[0][:2] in sent:
                self._queued[self._queue.popleft()[0]] -= 1
            self._changed.notify_all()
        decode_seconds = [decode for *_, decode in queued if decode is not None]
        frames = Counter(stream_id for stream_id, *_, decode in queued if decode is not None)
        return FramesSent(frames, decode_seconds)

    def close(self) -> None:
        """Refuse further frames, wake waiting cameras, free the pixels."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pixels.close()

    def _send(self, queued: list[tuple[str, int, bytes, float | None]], waiting: list[str]) -> None:
        with redis_errors("send frames"):
            pipeline = self._client.pipeline(transaction=False)
            for stream_id, entry_us, payload, _ in queued:
                pipeline.xadd(
                    self._keys.frames(stream_id),
                    {"e": payload},
                    id=f"{entry_us}-0",
                    maxlen=self._num_slots,
                    approximate=False,
                )
            for stream_id in waiting:
                pipeline.xlen(self._keys.frames(stream_id))
            answers = pipeline.execute(raise_on_error=False)
            for answer in answers:
                # After a lost answer the same entries are sent again; the ids say which are there.
                if isinstance(answer, Exception) and "equal or smaller" not in str(answer):
                    raise answer
        lengths = answers[len(queued) :]
        with self._changed:
            for stream_id, length in zip(waiting, lengths, strict=True):
                self._outstanding[stream_id] = length

    def _enqueue(self, stream_id: str, entry_us: int, payload: bytes, decode: float | None) -> bool:
        with self._changed:
            if self._closed:
                return False
            if self._queued[stream_id] >= self._num_slots:
                self._drop_oldest(stream_id)
            self._queue.append((stream_id, entry_us, payload, decode))
            self._queued[stream_id] += 1
            self._outstanding[stream_id] += 1
            self._changed.notify_all()
        return True

    def _drop_oldest(self, stream_id: str) -> None:
        # Redis does not answer. The newest wins here as everywhere; the encoder counts the hole.
        for entry in self._queue:
            if entry[0] == stream_id and entry[3] is not None:
                self._queue.remove(entry)
                self._queued[stream_id] -= 1
                return

    def _wait_for_room(self, stream_id: str) -> bool:
        # One slot stays free: the frame about to be written must not fall on one being read.
        with self._changed:
            self._waiting[stream_id] += 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._closed or self._outstanding[stream_id] < self._num_slots - 1
            )
            self._waiting[stream_id] -= 1
            return not self._closed


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

    def assign(self, stream_ids: set[str]) -> None:
        """Read exactly these streams from now on, each from its oldest waiting entry."""
        for gone in self._positions.keys() - stream_ids:
            del self._positions[gone]
            self._pixels.forget(gone)
        for stream_id in stream_ids - self._positions.keys():
            self._positions[stream_id] = 0
        self._key_of = {self._keys.frames(s): s for s in self._positions}

    def receive(
        self, *, timeout_seconds: float, paused: Container[str] = ()
    ) -> list[FrameHandle | StatusNote]:
        """What has come since; waits until there is something."""
        starts = {key: self._positions[s] for key, s in self._key_of.items() if s not in paused}
        if not starts:
            threading.Event().wait(timeout_seconds)
            return []
        read = read_entries(self._client, starts, limit=NUM_SLOTS, timeout_seconds=timeout_seconds)
        received: list[FrameHandle | StatusNote] = []
        for key, rows in read.items():
            for position, payload in rows:
                self._positions[self._key_of[key]] = position
                entry = decode_path_entry(payload)
                if isinstance(entry, StatusNote):
                    received.append(entry)
                else:
                    received.append(_Handle(position, entry, self._pixels))
        return received

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
