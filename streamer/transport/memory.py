"""The data plane within one process: for the in-process pipeline, and for tests."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.telemetry.observer import FramesSent
from streamer.transport.codec import decode_input, encode_input
from streamer.transport.transport import LogEntry, Opened, PublishAnswer, Published

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from streamer.core.feature import InputEntry, StatusNote
    from streamer.core.frame import Frame, FrameStamp
    from streamer.transport.transport import FrameHandle, Unreadable


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
        self._entries: defaultdict[str, deque[tuple[int, bytes]]] = defaultdict(deque)
        self._changed = threading.Condition()

    def open_source(self, stream_id: str, *, session: str) -> Opened:
        """Begin a new epoch; `session` is now the only one that may publish."""
        with self._changed:
            source = self._sources[stream_id]
            source.session = session
            source.epoch += 1
            return Opened(source.epoch, source.last_us)

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
                stream_id: [
                    LogEntry(position, payload, decode_input(payload))
                    for position, payload in rows[:limit]
                ]
                for stream_id, rows in zip(positions, self._after(positions), strict=True)
                if rows
            }

    def trim(self, stream_id: str, *, position: int) -> None:
        """Everything up to `position` is folded in: make room."""
        entries = self._entries[stream_id]
        while entries and entries[0][0] <= position:
            entries.popleft()

    def _after(self, positions: Mapping[str, int]) -> list[list[tuple[int, bytes]]]:
        return [
            [row for row in self._entries[stream_id] if row[0] > position]
            for stream_id, position in positions.items()
        ]

    def _publish(self, entry: InputEntry, previous: int | None) -> Published:
        source = self._sources[entry.stream_id]
        entries = self._entries[entry.stream_id]
        answer = PublishAnswer.ACCEPTED
        if source.session != entry.session:
            answer = PublishAnswer.FENCED
        elif entry.entry_us <= source.last_us:
            answer = PublishAnswer.DUPLICATE
        elif previous is not None and previous != source.last_us:
            answer = PublishAnswer.GAP
        elif len(entries) >= self._max_unread:
            answer = PublishAnswer.FULL
        else:
            entries.append((entry.entry_us, encode_input(entry)))
            source.last_us = entry.entry_us
        return Published(answer, source.last_us)


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

    def flush(self, *, timeout_seconds: float) -> FramesSent | None:
        """Nothing to move: frames are there at once. Reports them."""
        with self._changed:
            if not self._unreported:
                self._changed.wait(timeout_seconds)
            if not self._unreported:
                return None
            sent = FramesSent(self._unreported, self._decode_seconds)
            self._unreported, self._decode_seconds = Counter(), []
            return sent

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

    def done(self, positions: Mapping[str, int]) -> None:
        """Nothing to free: receiving made room."""

    def close(self) -> None:
        """Refuse further frames and wake who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
