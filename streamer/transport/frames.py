"""The frame path through Redis: descriptors, or whole frames, one stream per camera."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import redis

from streamer.core.errors import TransportError
from streamer.core.feature import StatusNote
from streamer.telemetry.observer import FramesSent
from streamer.transport.codec import (
    StampWire,
    decode_path_entry,
    encode_note,
    encode_stamp,
)
from streamer.transport.connection import Keys, read_entries, redis_errors, translated
from streamer.transport.transport import Unreadable

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    import numpy as np

    from streamer.core.frame import Frame, FrameStamp
    from streamer.transport.pixels import PixelReader, PixelStore
    from streamer.transport.transport import FrameHandle

NUM_SLOTS = 8
"""Frames of one camera between ingest and encoder: 0.8 s at 10 a second."""

MAX_READ = 16
"""Entries of one stream read at once."""

NUM_NOTES = 64
"""Notes of one camera that may wait for an encoder; only one that flaps for hours has more."""

_POLL_WHILE_WAITING_SECONDS = 0.005


class _Kind(Enum):
    """What an entry of the path is, for making room."""

    LIVE_FRAME = auto()
    RECORDED_FRAME = auto()
    NOTE = auto()


@dataclass(frozen=True, slots=True, eq=False)
class _Queued:
    """An entry on its way into the path."""

    stream_id: str
    entry_us: int
    payload: bytes
    kind: _Kind
    decode_seconds: float = 0.0


class RedisFrameSender:
    """Ingest side. Cameras queue; the worker's loop moves what is queued in one round trip.

    Delivery: at most once. Of a live camera the newest `num_slots` frames wait for the encoder,
    an older one is lost and shows as a hole in seq. A recorded source waits for room. Notes are
    never lost to frames.
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
        self._queue: deque[_Queued] = deque()
        self._overtaken: Counter[str] = Counter()
        self._outstanding: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._closed = False
        # Of the flushing thread alone:
        self._in_path: defaultdict[tuple[str, _Kind], deque[int]] = defaultdict(deque)
        self._evicted: list[tuple[str, int]] = []
        self._sending_again = False

    def send(self, frame: Frame, *, wait: bool) -> bool:
        """Queue a frame; the pixels are stored at once."""
        stamp = frame.stamp
        if wait and not self._wait_for_room(stamp.stream_id):
            return False
        wire = self._pixels.put(frame)
        if wire is None:
            return False
        kind = _Kind.RECORDED_FRAME if wait else _Kind.LIVE_FRAME
        payload = encode_stamp(wire)
        return self._enqueue(
            _Queued(stamp.stream_id, stamp.entry_us, payload, kind, stamp.decode_seconds)
        )

    def note(self, note: StatusNote) -> None:
        """Queue a note."""
        self._enqueue(_Queued(note.stream_id, note.entry_us, encode_note(note), _Kind.NOTE))

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
        lengths = self._send(queued, waiting)
        done = set(queued)
        with self._changed:
            while self._queue and self._queue[0] in done:
                self._queue.popleft()
            still_queued = Counter(entry.stream_id for entry in self._queue)
            for stream_id, length in zip(waiting, lengths, strict=True):
                self._outstanding[stream_id] = length + still_queued[stream_id]
            overtaken, self._overtaken = self._overtaken, Counter()
            self._changed.notify_all()
        frames = [entry for entry in queued if entry.kind is not _Kind.NOTE]
        # One overtaken while Redis was away was analysed too: the encoder sees its hole.
        by_stream = Counter(entry.stream_id for entry in frames) + overtaken
        return FramesSent(by_stream, [entry.decode_seconds for entry in frames])

    def close(self) -> None:
        """Refuse further frames, wake waiting cameras, free the pixels."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pixels.close()

    def _send(self, queued: list[_Queued], waiting: list[str]) -> list[int]:
        """Write entries and make room for them. Returns how many wait, of each waiting stream."""
        self._make_room(queued)
        with redis_errors("send frames"):
            pipeline = self._client.pipeline(transaction=False)
            for entry in queued:
                key = self._keys.frames(entry.stream_id)
                pipeline.xadd(key, {"e": entry.payload}, id=f"{entry.entry_us}-0")
            for stream_id, us in self._evicted:
                pipeline.xdel(self._keys.frames(stream_id), f"{us}-0")
            for stream_id in waiting:
                pipeline.xlen(self._keys.frames(stream_id))
            try:
                answers = pipeline.execute(raise_on_error=False)
            except redis.RedisError:
                self._sending_again = True
                raise
        for answer in answers:
            # After a lost answer the same entries are sent again; the ids say which are there.
            there = self._sending_again and "equal or smaller" in str(answer)
            if isinstance(answer, Exception) and not there:
                self._sending_again = True  # the others may have been executed
                raise translated(answer, "send frames") from answer
        self._sending_again = False
        self._evicted.clear()
        return answers[len(answers) - len(waiting) :]

    def _make_room(self, queued: list[_Queued]) -> None:
        """Note which older entries those about to be written take the place of."""
        limits = {_Kind.LIVE_FRAME: self._num_slots, _Kind.NOTE: NUM_NOTES}
        for entry in queued:
            if entry.kind not in limits:
                continue  # a recorded frame has waited for its room
            in_path = self._in_path[entry.stream_id, entry.kind]
            if in_path and in_path[-1] >= entry.entry_us:
                continue  # it is being sent again
            in_path.append(entry.entry_us)
            if len(in_path) > limits[entry.kind]:
                self._evicted.append((entry.stream_id, in_path.popleft()))

    def _enqueue(self, entry: _Queued) -> bool:
        with self._changed:
            if self._closed:
                return False
            if entry.kind is _Kind.LIVE_FRAME:
                self._overtake(entry.stream_id)
            self._queue.append(entry)
            self._outstanding[entry.stream_id] += 1
            self._changed.notify_all()
        return True

    def _overtake(self, stream_id: str) -> None:
        # Redis does not answer. The newest wins here as everywhere.
        own = [
            entry
            for entry in self._queue
            if entry.stream_id == stream_id and entry.kind is _Kind.LIVE_FRAME
        ]
        if len(own) >= self._num_slots:
            self._queue.remove(own[0])
            self._overtaken[stream_id] += 1

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
    ) -> list[FrameHandle | StatusNote | Unreadable]:
        """What has come since; waits until there is something."""
        starts = {key: self._positions[s] for key, s in self._key_of.items() if s not in paused}
        if not starts:
            threading.Event().wait(timeout_seconds)
            return []
        read = read_entries(self._client, starts, limit=MAX_READ, timeout_seconds=timeout_seconds)
        received: list[FrameHandle | StatusNote | Unreadable] = []
        for key, rows in read.items():
            for position, payload in rows:
                self._positions[self._key_of[key]] = position
                try:
                    entry = decode_path_entry(payload)
                except TransportError as error:
                    received.append(Unreadable(self._key_of[key], position, payload, str(error)))
                    continue
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
