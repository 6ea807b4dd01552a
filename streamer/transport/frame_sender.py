"""The frame path's ingest side in Redis: descriptors, or whole frames, one stream per camera."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamer.telemetry.records.ingest import FramesRefused, FramesSent
from streamer.transport.codec import encode_note, encode_stamp
from streamer.transport.connection import Call, call_many
from streamer.transport.frame_queue import EntryKind, FrameQueue, QueuedEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import redis

    from streamer.core.feature import StatusNote
    from streamer.core.frame import Frame, FrameStamp
    from streamer.transport.keys import Keys
    from streamer.transport.pixels import PixelStore

NUM_SLOTS = 8
"""Frames of one camera between ingest and encoder: 0.8 s at 10 a second."""

NUM_NOTES = 64
"""Notes of one camera that may wait for an encoder; only one that flaps for hours has more."""

_NOTES_SENT_AGAIN = 8


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
        self._queue = FrameQueue(num_slots=num_slots)
        # Of the flushing thread alone:
        self._in_path: defaultdict[tuple[str, EntryKind], deque[int]] = defaultdict(deque)
        self._evicted: defaultdict[str, list[int]] = defaultdict(list)
        self._sent: dict[str, deque[QueuedEntry]] = {}
        self._last: dict[str, int] = {}
        self._opening_of: dict[str, tuple[str, int]] = {}
        self._doubtful: set[str] = set()

    def send(self, frame: Frame, *, wait: bool) -> bool:
        """Queue a frame; the pixels are stored at once."""
        stamp = frame.stamp
        if wait and not self._queue.wait_for_room(stamp.stream_id):
            return False
        wire = self._pixels.put(frame)
        if wire is None:
            return False
        kind = EntryKind.RECORDED_FRAME if wait else EntryKind.LIVE_FRAME
        payload = encode_stamp(wire)
        return self._queue.put(
            QueuedEntry(
                stamp.session,
                stamp.epoch,
                stamp.stream_id,
                stamp.entry_us,
                payload,
                kind,
                stamp.decode_seconds,
                None if stamp.trace is None else stamp,
            )
        )

    def note(self, note: StatusNote) -> None:
        """Queue a note."""
        payload = encode_note(note)
        self._queue.put(
            QueuedEntry(
                note.session, note.epoch, note.stream_id, note.entry_us, payload, EntryKind.NOTE
            )
        )

    def flush(self, *, timeout_seconds: float) -> list[FramesSent | FramesRefused]:
        """Send what is queued, in one round trip. Waits for the first entry."""
        if not self._doubtful:
            self._queue.wait(timeout_seconds=timeout_seconds)
        queued, waiting = self._queue.look()
        asked = {*(entry.stream_id for entry in queued), *waiting, *self._doubtful}
        if not asked:
            return []
        lengths, refused = self._send(queued, sorted(asked))
        overtaken = self._queue.remove(queued, lengths={s: lengths[s] for s in waiting})
        frames = [entry for entry in queued if entry.kind is not EntryKind.NOTE]
        # One overtaken while Redis was away was analysed too: the encoder sees its hole.
        by_stream = Counter(entry.stream_id for entry in frames) + overtaken
        told: list[FramesSent | FramesRefused] = []
        if by_stream:
            decode_seconds = [entry.decode_seconds for entry in frames]
            told.append(FramesSent(by_stream, decode_seconds, _traced(frames, refused)))
        # Nobody sees the hole before a frame that was refused.
        told += [replace(one, frames=one.frames + overtaken[one.stream_id]) for one in refused]
        return told

    def doubt(self) -> None:
        """The connection was lost: make sure, at the next flush, that what was sent is there."""
        self._doubtful.update(self._last)

    def forget(self, stream_id: str) -> None:
        """The stream is no longer this session's. Call it when its camera has ended."""
        self._queue.forget(stream_id)
        for memory in (self._last, self._sent, self._evicted, self._opening_of):
            memory.pop(stream_id, None)
        self._doubtful.discard(stream_id)
        for kind in EntryKind:
            self._in_path.pop((stream_id, kind), None)

    def close(self) -> None:
        """Refuse further frames, wake waiting cameras, free the pixels."""
        self._queue.close()
        self._pixels.close()

    def _send(
        self, queued: list[QueuedEntry], asked: Sequence[str]
    ) -> tuple[dict[str, int], list[FramesRefused]]:
        """Write entries and make room for them.

        Returns:
            How many entries wait, of each stream asked about, and what was refused.
        """
        self._make_room(queued)
        entries: dict[str, list[QueuedEntry]] = {stream_id: [] for stream_id in asked}
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
            # Nobody waits for room in a path that is not ours any more.
            lengths[stream_id] = answer.length if answer.word == "accepted" else 0
            self._doubtful.discard(stream_id)
            self._evicted.pop(stream_id, None)
            if answer.word == "accepted":
                self._remember(stream_id, entries[stream_id], last_us=answer.last_us)
            else:
                frames = sum(entry.kind is not EntryKind.NOTE for entry in entries[stream_id])
                refused.append(FramesRefused(stream_id, answer.word, frames, answer.key))
        return lengths, refused

    def _call(
        self, entries: Mapping[str, Sequence[QueuedEntry]], previous: Mapping[str, int]
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

    def _remember(self, stream_id: str, entries: Sequence[QueuedEntry], *, last_us: int) -> None:
        if entries:
            limit = self._num_slots + _NOTES_SENT_AGAIN
            self._sent.setdefault(stream_id, deque(maxlen=limit)).extend(entries)
            self._last[stream_id] = last_us
            self._opening_of[stream_id] = (entries[-1].session, entries[-1].epoch)

    def _make_room(self, queued: list[QueuedEntry]) -> None:
        """Note which older entries those about to be written take the place of."""
        limits = {EntryKind.LIVE_FRAME: self._num_slots, EntryKind.NOTE: NUM_NOTES}
        for entry in queued:
            if entry.kind not in limits:
                continue  # a recorded frame has waited for its room
            in_path = self._in_path[entry.stream_id, entry.kind]
            if in_path and in_path[-1] >= entry.entry_us:
                continue  # it is being sent again
            in_path.append(entry.entry_us)
            if len(in_path) > limits[entry.kind]:
                self._evicted[entry.stream_id].append(in_path.popleft())


def _traced(
    frames: Sequence[QueuedEntry], refused: Sequence[FramesRefused]
) -> tuple[FrameStamp, ...]:
    """The sampled frames that are on their way."""
    sampled = [entry.traced for entry in frames if entry.traced is not None]
    if not sampled:
        return ()
    turned_away = {one.stream_id for one in refused}
    return tuple(stamp for stamp in sampled if stamp.stream_id not in turned_away)
