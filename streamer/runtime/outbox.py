"""What the encoder has yet to get into the input log, and what it may have to send again."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.core.feature import StatusNote
from streamer.telemetry.records.encoder import FeaturesPublished, FeaturesRefused, FeaturesResent
from streamer.telemetry.records.frames import DropReason, FramesDropped
from streamer.transport.transport import PublishAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from streamer.core.feature import InputEntry
    from streamer.telemetry.observer import Observer
    from streamer.transport.transport import Published, StreamLog

RESEND_BYTES = 64 * 2**20
RESEND_SECONDS = 30.0
_OVERHEAD_BYTES = 1_000
"""Of an entry beside its features, about."""


@dataclass(slots=True)
class _Item:
    """An entry on its way, or gone and remembered."""

    entry: InputEntry
    size: int
    previous: int | None = None
    """Position of the entry before it in the log, where that is known."""
    sent_at: float = 0.0
    counted: bool = False


@dataclass(slots=True)
class _Queue:
    """One stream's entries in order: those the log has taken, then those it has not."""

    sent: deque[_Item] = field(default_factory=deque)
    pending: deque[_Item] = field(default_factory=deque)
    previous: int | None = None
    """Position of the log's last entry, as far as is known."""


class Outbox:
    """Publishes entries and acts on the log's answers. Used by one thread.

    An entry leaves it only when the log has taken it, or refused it for good. If publishing
    raises, everything is still here, and sending it again is safe. What the log has taken is
    remembered for a while: a Redis that lost its newest writes says GAP, and gets them again,
    byte for byte.

    Args:
        log: Where entries go.
        observer: Is told what was taken and what was refused.
        refused: Called with stream and position of an entry that will never be taken: its frames
            are to make room. (Those of a fenced one made room when the source was opened anew.)
        resend_bytes: Most bytes remembered, of all streams together.
        resend_seconds: An entry of a stream that goes on is remembered so long.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        log: StreamLog,
        *,
        observer: Observer,
        refused: Callable[[str, int], None],
        resend_bytes: int = RESEND_BYTES,
        resend_seconds: float = RESEND_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._observer = observer
        self._refused = refused
        self._resend_bytes = resend_bytes
        self._resend_seconds = resend_seconds
        self._clock = clock
        self._queues: defaultdict[str, _Queue] = defaultdict(_Queue)
        self._pending: dict[str, _Queue] = {}
        self._remembered_bytes = 0

    @property
    def waiting(self) -> Collection[str]:
        """Streams with entries that the log has not taken."""
        return self._pending.keys()

    @property
    def remembered_bytes(self) -> int:
        """What the resend buffer holds, about."""
        return self._remembered_bytes

    def add(self, entries: Iterable[InputEntry]) -> None:
        """Take in entries. Those of one stream go out by their positions."""
        for entry in sorted(entries, key=lambda entry: entry.entry_us):
            size = 0 if isinstance(entry, StatusNote) else entry.features.nbytes
            queue = self._queues[entry.stream_id]
            queue.pending.append(_Item(entry, size + _OVERHEAD_BYTES))
            self._pending[entry.stream_id] = queue

    def forget(self, stream_id: str) -> None:
        """Let go of a stream that is no longer ours."""
        self._pending.pop(stream_id, None)
        queue = self._queues.pop(stream_id, None)
        if queue is not None:
            self._remembered_bytes -= sum(item.size for item in queue.sent)

    def doubt(self) -> None:
        """The connection was lost: offer each stream's last entry again, to see if it is there."""
        for stream_id, queue in self._queues.items():
            if queue.sent and not queue.pending:
                last = self._take_back(queue)
                queue.previous = last.previous
                self._pending[stream_id] = queue

    def publish(self) -> None:
        """Send what waits, one entry of each stream in a call, until all is taken or refused."""
        while self._pending:
            queues = list(self._pending.values())
            items = [queue.pending[0] for queue in queues]
            entries = [item.entry for item in items]
            previous = {
                item.entry.stream_id: queue.previous
                for item, queue in zip(items, queues, strict=True)
                if queue.previous is not None
            }
            answers = self._log.publish(entries, previous=previous)
            progress = False
            for queue, published in zip(queues, answers, strict=True):
                progress |= self._take(queue, published)
            if not progress:
                return  # there may be room later, or an ingest worker that claims its stream again

    def _take(self, queue: _Queue, published: Published) -> bool:
        """Act on an answer. Returns whether there was progress."""
        item = queue.pending[0]
        stream_id, answer, before = item.entry.stream_id, published.answer, queue.previous
        if answer is PublishAnswer.FOREIGN:
            queue.previous = None
        elif answer not in (PublishAnswer.FENCED, PublishAnswer.FORGOTTEN):
            queue.previous = published.last_us  # otherwise the log may remember, and ask
        if answer in (PublishAnswer.FULL, PublishAnswer.FORGOTTEN):
            return False
        if answer is PublishAnswer.GAP:
            self._send_again(stream_id, queue, last_us=published.last_us, expected_us=before or 0)
            return True
        queue.pending.popleft()
        if not queue.pending:
            del self._pending[stream_id]
        if answer in (PublishAnswer.FENCED, PublishAnswer.FOREIGN):
            self._give_up(item, published)
        else:
            self._remember(queue, item, before)
        return True

    def _give_up(self, item: _Item, published: Published) -> None:
        entry = item.entry
        self._observer.observe(
            FeaturesRefused(entry.stream_id, published.answer.value, published.key)
        )
        # One that was fenced and never taken was counted by who opened the source anew.
        if item.counted and entry.entry_us > published.last_us:
            self._lose(item, DropReason.LOST)
        elif published.answer is PublishAnswer.FOREIGN and not item.counted:
            self._lose(item, DropReason.REFUSED)
        if published.answer is PublishAnswer.FOREIGN:
            self._refused(entry.stream_id, entry.entry_us)

    def _remember(self, queue: _Queue, item: _Item, previous: int | None) -> None:
        entry, now = item.entry, self._clock()
        if not item.counted and not isinstance(entry, StatusNote):
            self._observer.observe(FeaturesPublished(entry.stream_id, len(entry)))
        item.counted = True
        item.sent_at = now
        item.previous = previous
        queue.sent.append(item)
        self._remembered_bytes += item.size
        # The last one stays: by it we see, after a lost connection, what is missing.
        while len(queue.sent) > 1 and queue.sent[0].sent_at < now - self._resend_seconds:
            self._remembered_bytes -= queue.sent.popleft().size
        while self._remembered_bytes > self._resend_bytes:
            oldest = min((q for q in self._queues.values() if q.sent), key=_oldest)
            self._remembered_bytes -= oldest.sent.popleft().size

    def _send_again(self, stream_id: str, queue: _Queue, *, last_us: int, expected_us: int) -> None:
        """The log ends at `last_us`, before what we know it had. Queue what came after."""
        if last_us > expected_us:
            return  # another encoder was here: go on from what it left
        first, resent = queue.pending[0], 0
        while queue.sent and queue.sent[-1].entry.entry_us > last_us:
            first = self._take_back(queue)
            resent += 1
        complete = (first.previous or 0) == last_us
        self._observer.observe(FeaturesResent(stream_id, resent, complete))

    def _lose(self, item: _Item, reason: DropReason) -> None:
        entry = item.entry
        if not isinstance(entry, StatusNote):
            self._observer.observe(FramesDropped(entry.stream_id, reason, len(entry)))

    def _take_back(self, queue: _Queue) -> _Item:
        item = queue.sent.pop()
        self._remembered_bytes -= item.size
        queue.pending.appendleft(item)
        return item


def _oldest(queue: _Queue) -> float:
    return queue.sent[0].sent_at
