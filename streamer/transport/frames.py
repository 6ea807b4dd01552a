"""The frame path through Redis: descriptors, or whole frames, one stream per camera."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from streamer.core.errors import TransportError
from streamer.core.feature import StatusNote
from streamer.telemetry.observer import FramesRefused, FramesSent
from streamer.transport.codec import (
    StampWire,
    decode_path_entry,
    encode_note,
    encode_stamp,
)
from streamer.transport.connection import Call, Keys, call_many, read_entries, redis_errors
from streamer.transport.redis import raise_foreign
from streamer.transport.transport import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    import numpy as np
    import redis

    from streamer.core.frame import Frame, FrameStamp
    from streamer.transport.pixels import PixelReader, PixelStore
    from streamer.transport.transport import FrameHandle

NUM_SLOTS = 8
"""Frames of one camera between ingest and encoder: 0.8 s at 10 a second."""

MAX_READ = 16
"""Entries of one stream read at once."""

NUM_NOTES = 64
"""Notes of one camera that may wait for an encoder; only one that flaps for hours has more."""

_NOTES_SENT_AGAIN = 8

_POLL_WHILE_WAITING_SECONDS = 0.005


class _Kind(Enum):
    """What an entry of the path is, for making room."""

    LIVE_FRAME = auto()
    RECORDED_FRAME = auto()
    NOTE = auto()


@dataclass(frozen=True, slots=True, eq=False)
class _Queued:
    """An entry on its way into the path."""

    session: str
    epoch: int
    stream_id: str
    entry_us: int
    payload: bytes
    kind: _Kind
    decode_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the path says of one stream.

    Attributes:
        word: `accepted`, `gap`, `forgotten`, `fenced` or `foreign`.
        last_us: Position of its last entry.
        length: How many entries wait.
        key: The foreign key, if there is one; then nothing is known of the path.
    """

    word: str
    last_us: int = 0
    length: int = 0
    key: str = ""

    @classmethod
    def read(cls, word: bytes, last_or_key: bytes, length: int) -> _Answer:
        if word == b"foreign":
            return cls("foreign", key=last_or_key.decode())
        return cls(word.decode(), int(last_or_key), length)


class RedisFrameSender:
    """Ingest side. Cameras queue; the worker's loop moves what is queued in one round trip.

    Delivery: at most once. Of a live camera the newest `num_slots` frames wait for the encoder,
    an older one is lost and shows as a hole in seq. A recorded source waits for room. Notes are
    never lost to frames. What a Redis has forgotten that lost its newest writes is sent again.

    Args:
        client: A connection.
        keys: Key names.
        pixels: Where pixels go.
        num_slots: Frames of a stream that may wait.
        reclaim: Called with a stream that Redis has forgotten to be ours. Whether it is ours again.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        keys: Keys,
        pixels: PixelStore,
        num_slots: int = NUM_SLOTS,
        reclaim: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._client = client
        self._keys = keys
        self._pixels = pixels
        self._num_slots = num_slots
        self._reclaim = reclaim
        self._changed = threading.Condition()
        self._queue: deque[_Queued] = deque()
        self._overtaken: Counter[str] = Counter()
        self._outstanding: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._closed = False
        # Of the flushing thread alone:
        self._in_path: defaultdict[tuple[str, _Kind], deque[int]] = defaultdict(deque)
        self._evicted: defaultdict[str, list[int]] = defaultdict(list)
        self._sent: dict[str, deque[_Queued]] = {}
        self._last: dict[str, int] = {}
        self._opening_of: dict[str, tuple[str, int]] = {}
        self._doubtful: set[str] = set()

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
            _Queued(
                stamp.session,
                stamp.epoch,
                stamp.stream_id,
                stamp.entry_us,
                payload,
                kind,
                stamp.decode_seconds,
            )
        )

    def note(self, note: StatusNote) -> None:
        """Queue a note."""
        payload = encode_note(note)
        self._enqueue(
            _Queued(note.session, note.epoch, note.stream_id, note.entry_us, payload, _Kind.NOTE)
        )

    def flush(self, *, timeout_seconds: float) -> list[FramesSent | FramesRefused]:
        """Send what is queued, in one round trip. Waits for the first entry."""
        with self._changed:
            if not self._queue and not self._doubtful:
                some_wait = any(self._waiting.values())
                self._changed.wait(_POLL_WHILE_WAITING_SECONDS if some_wait else timeout_seconds)
            queued = list(self._queue)
            waiting = [stream_id for stream_id, count in self._waiting.items() if count]
        asked = {*(entry.stream_id for entry in queued), *waiting, *self._doubtful}
        if not asked:
            return []
        lengths, refused = self._send(queued, sorted(asked))
        done = set(queued)
        with self._changed:
            while self._queue and self._queue[0] in done:
                self._queue.popleft()
            still_queued = Counter(entry.stream_id for entry in self._queue)
            for stream_id in waiting:
                self._outstanding[stream_id] = lengths[stream_id] + still_queued[stream_id]
            overtaken, self._overtaken = self._overtaken, Counter()
            self._changed.notify_all()
        frames = [entry for entry in queued if entry.kind is not _Kind.NOTE]
        # One overtaken while Redis was away was analysed too: the encoder sees its hole.
        by_stream = Counter(entry.stream_id for entry in frames) + overtaken
        told: list[FramesSent | FramesRefused] = []
        if by_stream:
            told.append(FramesSent(by_stream, [entry.decode_seconds for entry in frames]))
        # Nobody sees the hole before a frame that was refused.
        told += [replace(one, frames=one.frames + overtaken[one.stream_id]) for one in refused]
        return told

    def doubt(self) -> None:
        """The connection was lost: make sure, at the next flush, that what was sent is there."""
        self._doubtful.update(self._last)

    def forget(self, stream_id: str) -> None:
        """The stream is no longer this session's. Call it when its camera has ended."""
        with self._changed:
            self._queue = deque(e for e in self._queue if e.stream_id != stream_id)
            self._outstanding.pop(stream_id, None)
        for memory in (self._last, self._sent, self._evicted, self._opening_of):
            memory.pop(stream_id, None)
        self._doubtful.discard(stream_id)
        for kind in _Kind:
            self._in_path.pop((stream_id, kind), None)

    def close(self) -> None:
        """Refuse further frames, wake waiting cameras, free the pixels."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pixels.close()

    def _send(
        self, queued: list[_Queued], asked: Sequence[str]
    ) -> tuple[dict[str, int], list[FramesRefused]]:
        """Write entries and make room for them.

        Returns:
            How many entries wait, of each stream asked about, and what was refused.
        """
        self._make_room(queued)
        entries: dict[str, list[_Queued]] = {stream_id: [] for stream_id in asked}
        for entry in queued:
            entries[entry.stream_id].append(entry)
        answers = self._call(entries, self._last)
        ours = [s for s, one in answers.items() if one.word == "forgotten" and self._reclaim(s)]
        if ours:
            answers |= self._call({s: entries[s] for s in ours}, self._last)
        gaps = {s: one.last_us for s, one in answers.items() if one.word == "gap"}
        if gaps:
            # Redis has lost its newest entries. Those that are still here go again.
            again = {
                stream_id: [e for e in self._sent[stream_id] if e.entry_us > last_us]
                + entries[stream_id]
                for stream_id, last_us in gaps.items()
            }
            answers |= self._call(again, {})
        refused: list[FramesRefused] = []
        lengths = {}
        for stream_id, answer in answers.items():
            lengths[stream_id] = answer.length
            self._doubtful.discard(stream_id)
            self._evicted.pop(stream_id, None)
            if answer.word == "accepted":
                self._remember(stream_id, entries[stream_id], last_us=answer.last_us)
            else:
                frames = sum(entry.kind is not _Kind.NOTE for entry in entries[stream_id])
                refused.append(FramesRefused(stream_id, answer.word, frames, answer.key))
        return lengths, refused

    def _call(
        self, entries: Mapping[str, Sequence[_Queued]], previous: Mapping[str, int]
    ) -> dict[str, _Answer]:
        """By stream, the answer."""
        groups: defaultdict[int, list[str]] = defaultdict(list)
        for stream_id in entries:
            groups[self._keys.partition(stream_id)].append(stream_id)
        calls = []
        for streams in groups.values():
            keys: list[str] = []
            args: list[str | int | bytes] = []
            for stream_id in streams:
                own, evicted = entries[stream_id], self._evicted.get(stream_id, ())
                keys += [self._keys.source(stream_id), self._keys.frames(stream_id)]
                opening = self._opening_of.get(stream_id, ("", 0))
                session, epoch = (own[-1].session, own[-1].epoch) if own else opening
                args += [session, epoch, previous.get(stream_id, -1), len(own), len(evicted)]
                for entry in own:
                    args += [entry.entry_us, entry.payload]
                args += evicted
            calls.append(Call("send", keys, args))
        answered = call_many(self._client, calls)
        return {
            stream_id: _Answer.read(*answer)
            for streams, answers in zip(groups.values(), answered, strict=True)
            for stream_id, answer in zip(streams, answers, strict=True)
        }

    def _remember(self, stream_id: str, entries: Sequence[_Queued], *, last_us: int) -> None:
        if entries:
            limit = self._num_slots + _NOTES_SENT_AGAIN
            self._sent.setdefault(stream_id, deque(maxlen=limit)).extend(entries)
            self._last[stream_id] = last_us
            self._opening_of[stream_id] = (entries[-1].session, entries[-1].epoch)

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
                self._evicted[entry.stream_id].append(in_path.popleft())

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
            for position, payload in rows:
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
