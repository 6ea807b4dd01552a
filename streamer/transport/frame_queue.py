"""What an ingest worker's cameras have handed over and the frame path has not taken yet."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from streamer.core.frame import FrameStamp

_POLL_WHILE_WAITING_SECONDS = 0.005


class EntryKind(Enum):
    """What an entry of the path is, for making room."""

    LIVE_FRAME = auto()
    RECORDED_FRAME = auto()
    NOTE = auto()


@dataclass(frozen=True, slots=True, eq=False)
class QueuedEntry:
    """An entry on its way into the path."""

    session: str
    epoch: int
    stream_id: str
    entry_us: int
    payload: bytes
    kind: EntryKind
    decode_seconds: float = 0.0
    traced: FrameStamp | None = None
    """The frame, if it was sampled for tracing."""


class FrameQueue:
    """Cameras put entries in, each from its own thread; the sender's thread takes them out.

    Args:
        num_slots: Frames of a stream that may wait, here and in the path.
    """

    def __init__(self, *, num_slots: int) -> None:
        self._num_slots = num_slots
        self._changed = threading.Condition()
        self._entries: deque[QueuedEntry] = deque()
        self._overtaken: list[QueuedEntry] = []
        self._outstanding: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._closed = False

    def put(self, entry: QueuedEntry) -> bool:
        """Put one in. A live frame takes the oldest one's place, if need be. False once closed."""
        with self._changed:
            if self._closed:
                return False
            if entry.kind is EntryKind.LIVE_FRAME:
                self._overtake(entry.stream_id)
            self._entries.append(entry)
            self._outstanding[entry.stream_id] += 1
            self._changed.notify_all()
        return True

    def wait_for_room(self, stream_id: str) -> bool:
        """Wait until the encoder has got on with a recorded source. False once closed."""
        # One slot stays free: the frame about to be written must not fall on one being read.
        with self._changed:
            self._waiting[stream_id] += 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._closed or self._outstanding[stream_id] < self._num_slots - 1
            )
            self._waiting[stream_id] -= 1
            return not self._closed

    def wait(self, *, timeout_seconds: float) -> None:
        """Wait for a first entry; not for long while a camera waits for room."""
        with self._changed:
            if not self._entries:
                some_wait = any(self._waiting.values())
                self._changed.wait(_POLL_WHILE_WAITING_SECONDS if some_wait else timeout_seconds)

    def look(self) -> tuple[list[QueuedEntry], list[str]]:
        """What is in it, in order, and the streams whose cameras wait for room."""
        with self._changed:
            waiting = [stream_id for stream_id, count in self._waiting.items() if count]
            return list(self._entries), waiting

    def remove(self, done: Collection[QueuedEntry], *, lengths: Mapping[str, int]) -> Counter[str]:
        """Take out what has been sent or refused.

        Args:
            done: Of what was in it before.
            lengths: Of the streams whose cameras wait: how many entries the path has now.

        Returns:
            By stream, how many frames newer ones have taken the place of since the last call.
        """
        gone = set(done)
        with self._changed:
            while self._entries and self._entries[0] in gone:
                self._entries.popleft()
            still_queued = Counter(entry.stream_id for entry in self._entries)
            for stream_id, length in lengths.items():
                self._outstanding[stream_id] = length + still_queued[stream_id]
            # One that was overtaken while it was being sent has arrived after all.
            overtaken = Counter(e.stream_id for e in self._overtaken if e not in gone)
            self._overtaken.clear()
            self._changed.notify_all()
        return overtaken

    def forget(self, stream_id: str) -> None:
        """Let go of a stream's entries."""
        with self._changed:
            self._entries = deque(e for e in self._entries if e.stream_id != stream_id)
            self._outstanding.pop(stream_id, None)

    def close(self) -> None:
        """Take nothing more; wake waiting cameras. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _overtake(self, stream_id: str) -> None:
        # Redis does not answer. The newest wins here as everywhere.
        own = [
            entry
            for entry in self._entries
            if entry.stream_id == stream_id and entry.kind is EntryKind.LIVE_FRAME
        ]
        if len(own) >= self._num_slots:
            self._entries.remove(own[0])
            self._overtaken.append(own[0])
