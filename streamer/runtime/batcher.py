"""Which frames are encoded together, and when: fair per camera, by size or deadline."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item]):
    item: Item
    since_ns: int


class Batcher(Generic[Item]):
    """Queues per stream, emptied in rotation.

    Each batch takes one item of every waiting stream, then a second of each, and so on up to its
    size; the next batch begins with the stream after the last one served. So a camera that has
    fallen behind delays no other, and under overload each gets the same share.

    Args:
        max_size: Most items in a batch.
        max_wait_seconds: Longest time an item waits for batchmates.
    """

    def __init__(self, *, max_size: int, max_wait_seconds: float) -> None:
        self._max_size = max_size
        self._max_wait_ns = int(max_wait_seconds * 1e9)
        self._queues: dict[str, deque[_Waiting[Item]]] = {}
        self._rotation: deque[str] = deque()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, stream_id: str, item: Item, *, now_ns: int) -> None:
        """Queue an item of a stream."""
        queue = self._queues.get(stream_id)
        if queue is None:
            queue = self._queues[stream_id] = deque()
            self._rotation.append(stream_id)
        queue.append(_Waiting(item, now_ns))
        self._size += 1

    def due_in_seconds(self, *, now_ns: int) -> float | None:
        """Seconds until a batch should be taken: 0 when now, None when nothing waits."""
        if not self._size:
            return None
        if self._size >= self._max_size:
            return 0.0
        oldest_ns = min(queue[0].since_ns for queue in self._queues.values())
        return max(0.0, (oldest_ns + self._max_wait_ns - now_ns) * 1e-9)

    def take(self) -> list[Item]:
        """The next batch: at most `max_size` items, those of one stream in order."""
        taken: list[Item] = []
        while self._size and len(taken) < self._max_size:
            stream_id = self._rotation.popleft()
            queue = self._queues[stream_id]
            taken.append(queue.popleft().item)
            self._size -= 1
            if queue:
                self._rotation.append(stream_id)
            else:
                del self._queues[stream_id]
        return taken
