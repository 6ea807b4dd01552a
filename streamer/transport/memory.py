"""The data plane within one process: for the in-process pipeline, and for tests."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import numpy as np

from streamer.telemetry.records.ingest import FramesSent
from streamer.transport.codec import encode_input, encode_traces, read_entry
from streamer.transport.lease import NOTHING_KNOWN, Share
from streamer.transport.transport import Opened, PublishAnswer, Published

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Mapping, Sequence

    from streamer.core.feature import InputEntry, StatusNote
    from streamer.core.frame import Frame, FrameStamp
    from streamer.telemetry.records.ingest import FramesRefused
    from streamer.transport.transport import FrameHandle, LogEntry, Unreadable


@dataclass(slots=True)
class _Source:
    session: str = ""
    epoch: int = 0
    last_us: int = 0


class MemoryStreamLog:
    """The input log in a dictionary. Same answers as the one in Redis; dies with the process."""

    def __init__(self, *, max_unread: int = 3_000) -> None:
        self._max_unread = max_unread
        self._sources: defaultdict[str, _Source] = defaultdict(_Source)
        self._entries: defaultdict[str, deque[tuple[int, bytes, bytes]]] = defaultdict(deque)
        self._changed = threading.Condition()

    def open_source(self, stream_id: str, *, session: str, at_least_epoch: int = 1) -> Opened:
        """Begin a new epoch; `session` is now the only one that may publish."""
        with self._changed:
            source = self._sources[stream_id]
            source.session = session
            source.epoch = max(source.epoch + 1, at_least_epoch)
            return Opened(source.epoch, source.last_us)

    def reclaim(self, stream_id: str, *, session: str, epoch: int) -> bool:
        """Own the stream again."""
        with self._changed:
            source = self._sources[stream_id]
            source.session, source.epoch = session, max(source.epoch, epoch)
        return True

    def publish(
        self, entries: Sequence[InputEntry], *, previous: Mapping[str, int]
    ) -> list[Published]:
        """Append entries, at most one per stream."""
        with self._changed:
            answers = [self._publish(entry, previous.get(entry.stream_id)) for entry in entries]
            self._changed.notify_all()
        return answers

    def read(
        self, positions: Mapping[str, int], *, timeout_seconds: float, limit: int
    ) -> dict[str, list[LogEntry | Unreadable]]:
        """Entries after each position, in order; waits until there is one."""
        with self._changed:
            self._changed.wait_for(lambda: any(self._after(positions)), timeout_seconds)
            return {
                stream_id: [read_entry(stream_id, *row) for row in rows[:limit]]
                for stream_id, rows in zip(positions, self._after(positions), strict=True)
                if rows
            }

    def trim(self, stream_id: str, *, position: int) -> None:
        """Everything up to `position` is folded in: make room."""
        entries = self._entries[stream_id]
        while entries and entries[0][0] <= position:
            entries.popleft()

    def _after(self, positions: Mapping[str, int]) -> list[list[tuple[int, bytes, bytes]]]:
        return [
            [row for row in self._entries[stream_id] if row[0] > position]
            for stream_id, position in positions.items()
        ]

    def _publish(self, entry: InputEntry, previous: int | None) -> Published:
        source = self._sources[entry.stream_id]
        entries = self._entries[entry.stream_id]
        answer = PublishAnswer.ACCEPTED
        if source.session != entry.session:
            forgotten = source.epoch < entry.epoch
            answer = PublishAnswer.FORGOTTEN if forgotten else PublishAnswer.FENCED
        elif entry.entry_us <= source.last_us:
            answer = PublishAnswer.DUPLICATE
        elif previous is not None and previous != source.last_us:
            answer = PublishAnswer.GAP
        elif len(entries) >= self._max_unread:
            answer = PublishAnswer.FULL
        else:
            entries.append((entry.entry_us, encode_input(entry), encode_traces(entry)))
            source.last_us = entry.entry_us
        return Published(answer, source.last_us)


class MemoryLeases(Generic[Share]):
    """Leases in a dictionary.

    Args:
        now_seconds: Time.
    """

    def __init__(self, *, now_seconds: Callable[[], float]) -> None:
        self._now_seconds = now_seconds
        self._owners: dict[Share, tuple[str, float]] = {}
        self._generations: Counter[Share] = Counter()

    def acquire(
        self,
        shares: Collection[Share],
        *,
        owner: str,
        ttl_seconds: float,
        known: Mapping[Share, int] = NOTHING_KNOWN,
    ) -> dict[Share, int]:
        """Take or renew leases."""
        now = self._now_seconds()
        granted = {}
        for share in shares:
            had = known.get(share, 0)
            holder, until = self._owners.get(share, (None, 0.0))
            mine = holder == owner or had > self._generations[share]
            if holder is not None and not mine and until > now:
                continue
            stored = self._generations[share]
            self._generations[share] = max(stored, had) if mine else stored + 1
            self._owners[share] = (owner, now + ttl_seconds)
            granted[share] = self._generations[share]
        return granted

    def release(self, shares: Collection[Share], *, owner: str) -> None:
        """Give back those that are the owner's."""
        for share in shares:
            if self.owner(share) == owner:
                del self._owners[share]

    def owner(self, share: Share) -> str | None:
        """Whose it was last, unless given back."""
        return self._owners.get(share, (None, 0.0))[0]


class MemoryRoster:
    """Members in a dictionary.

    Args:
        now_seconds: Time.
    """

    def __init__(self, *, now_seconds: Callable[[], float]) -> None:
        self._now_seconds = now_seconds
        self._until: dict[str, float] = {}

    def join(self, member: str, *, ttl_seconds: float) -> list[str]:
        """Say that one is alive."""
        now = self._now_seconds()
        self._until[member] = now + ttl_seconds
        self._until = {name: until for name, until in self._until.items() if until > now}
        return sorted(self._until)

    def leave(self, member: str) -> None:
        """Say that one is no more."""
        self._until.pop(member, None)


class _Held:
    """A frame held in memory."""

    __slots__ = ("_image", "position", "stamp")

    def __init__(self, frame: Frame) -> None:
        self.stamp: FrameStamp = frame.stamp
        self.position = frame.stamp.entry_us
        self._image = frame.image

    def read_into(self, image: np.ndarray) -> bool:
        np.copyto(image, self._image)
        return True


class MemoryFramePath:
    """Both ends of the frame path: camera threads send, one thread receives.

    Delivery: at most once. Of a live camera the newest `num_slots` frames wait.
    """

    def __init__(self, *, num_slots: int) -> None:
        self._num_slots = num_slots
        self._changed = threading.Condition()
        self._queues: dict[str, deque[_Held | StatusNote]] = {}
        self._unreported: Counter[str] = Counter()
        self._decode_seconds: list[float] = []
        self._closed = False

    def send(self, frame: Frame, *, wait: bool) -> bool:
        """Queue a frame: over the oldest one, or, if told to wait, once there is room."""
        stream_id = frame.stamp.stream_id
        with self._changed:
            queue = self._queues.setdefault(stream_id, deque())
            if wait:
                self._changed.wait_for(lambda: self._closed or len(queue) < self._num_slots)
            if self._closed:
                return False
            while sum(isinstance(item, _Held) for item in queue) >= self._num_slots:
                queue.remove(next(item for item in queue if isinstance(item, _Held)))
            queue.append(_Held(frame))
            self._unreported[stream_id] += 1
            self._decode_seconds.append(frame.stamp.decode_seconds)
            self._changed.notify_all()
        return True

    def note(self, note: StatusNote) -> None:
        """Queue a note."""
        with self._changed:
            self._queues.setdefault(note.stream_id, deque()).append(note)
            self._changed.notify_all()

    def flush(self, *, timeout_seconds: float) -> list[FramesSent | FramesRefused]:
        """Nothing to move: frames are there at once. Reports them."""
        with self._changed:
            if not self._unreported:
                self._changed.wait(timeout_seconds)
            if not self._unreported:
                return []
            sent = FramesSent(self._unreported, self._decode_seconds)
            self._unreported, self._decode_seconds = Counter(), []
            return [sent]

    def doubt(self) -> None:
        """Nothing can be gone."""

    def forget(self, stream_id: str) -> None:
        """Let go of a stream's queue."""
        with self._changed:
            self._queues.pop(stream_id, None)

    def assign(self, stream_ids: set[str]) -> None:
        """Receive exactly these streams."""
        with self._changed:
            for stream_id in stream_ids:
                self._queues.setdefault(stream_id, deque())

    def receive(
        self, *, timeout_seconds: float, paused: Container[str] = ()
    ) -> list[FrameHandle | StatusNote]:
        """What has come since; waits until there is something."""
        with self._changed:
            self._changed.wait_for(
                lambda: any(q for s, q in self._queues.items() if s not in paused), timeout_seconds
            )
            received: list[FrameHandle | StatusNote] = []
            for stream_id, queue in self._queues.items():
                if stream_id not in paused:
                    received += queue
                    queue.clear()
            self._changed.notify_all()
            return received

    def is_current(self, stream_id: str, session: str) -> bool:
        """There is only one."""
        return True

    def leave_out(self, stream_id: str, *, seconds: float) -> None:
        """Nothing here is not ours."""

    def done(self, positions: Mapping[str, int]) -> None:
        """Nothing to free: receiving made room."""

    def close(self) -> None:
        """Refuse further frames and wake who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
