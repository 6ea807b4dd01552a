"""Which frames are encoded together, and when: fair per camera, by size or deadline."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
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

    def drop_oldest(
        self, stream_id: str, *, keep: int, droppable: Callable[[Item], bool]
    ) -> list[Item]:
        """Drop a stream's oldest items until at most `keep` droppable ones wait.

        Args:
            stream_id: Whose.
            keep: How many may stay.
            droppable: Which items count, and may go.

        Returns:
            What was dropped, in order.
        """
        queue = self._queues.get(stream_id, ())
        candidates = [waiting for waiting in queue if droppable(waiting.item)]
        dropped = candidates[: max(0, len(candidates) - keep)]
        for waiting in dropped:
            self._queues[stream_id].remove(waiting)
            self._size -= 1
        if dropped and not self._queues[stream_id]:
            del self._queues[stream_id]
            self._rotation.remove(stream_id)
        return [waiting.item for waiting in dropped]

    def due_in_seconds(self, *, now_ns: int) -> float | None:
        """Seconds until a batch should be taken: 0 when now, None when nothing waits."""
        if not self._size:
            return None
        if self._size >= self._max_size:
            return 0.0
        oldest_ns = min(queue[0].since_ns for queue in self._queues.values())
        return max(0.0, (oldest_ns + self._max_wait_ns - now_ns) * 1e-9)

    def take(self) -> list[Item]:
        """The next batch: at most `max_size` items, those of one stream in order.

        Where waiting for batchmates is not worth it, neither is waiting for their computation:
        then items come one by one until more than a full batch waits, and only then in batches,
        which save round trips.
        """
        one_by_one = not self._max_wait_ns and self._size <= self._max_size
        size = 1 if one_by_one else self._max_size
        taken: list[Item] = []
        while self._size and len(taken) < size:
            stream_id = self._rotation.popleft()
            queue = self._queues[stream_id]
            taken.append(queue.popleft().item)
            self._size -= 1
            if queue:
                self._rotation.append(stream_id)
            else:
                del self._queues[stream_id]
        return taken
