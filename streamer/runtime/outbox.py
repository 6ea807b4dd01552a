"""What the encoder has yet to get into the input log: in order, per stream, until it is taken."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from streamer.core.feature import StatusNote
from streamer.telemetry.observer import (
    DropReason,
    FeaturesPublished,
    FeaturesRefused,
    FramesDropped,
)
from streamer.transport.transport import PublishAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from streamer.core.feature import InputEntry
    from streamer.telemetry.observer import Observer
    from streamer.transport.transport import Published, StreamLog


class Outbox:
    """Publishes entries and acts on the log's answers. Used by one thread.

    An entry leaves it only when the log has taken it, or refused it for good. If publishing
    raises, everything is still here, and sending it again is safe.

    Args:
        log: Where entries go.
        observer: Is told what was taken and what was refused.
        refused: Called with stream and position of an entry that will never be taken.
    """

    def __init__(
        self, log: StreamLog, *, observer: Observer, refused: Callable[[str, int], None]
    ) -> None:
        self._log = log
        self._observer = observer
        self._refused = refused
        self._pending: defaultdict[str, deque[InputEntry]] = defaultdict(deque)
        self._previous: dict[str, int] = {}

    @property
    def waiting(self) -> Collection[str]:
        """Streams with entries that the log has not taken."""
        return self._pending.keys()

    def add(self, entries: Iterable[InputEntry]) -> None:
        """Take in entries. Those of one stream go out by their positions."""
        for entry in sorted(entries, key=lambda entry: entry.entry_us):
            self._pending[entry.stream_id].append(entry)

    def forget(self, stream_id: str) -> None:
        """Let go of a stream that is no longer ours."""
        self._pending.pop(stream_id, None)
        self._previous.pop(stream_id, None)

    def publish(self) -> None:
        """Send what waits, one entry of each stream in a call, until all is taken or refused."""
        while self._pending:
            entries = [queue[0] for queue in self._pending.values()]
            answers = self._log.publish(entries, previous=self._previous)
            progress = False
            for entry, published in zip(entries, answers, strict=True):
                progress |= self._take(entry, published)
            if not progress:
                return  # all are full: there may be room later

    def _take(self, entry: InputEntry, published: Published) -> bool:
        """Act on an answer. Returns whether there was progress."""
        stream_id, answer = entry.stream_id, published.answer
        self._previous[stream_id] = published.last_us
        if answer is PublishAnswer.FULL:
            return False
        if answer is PublishAnswer.GAP:
            # The log's tail is gone. Going on from what it has leaves a hole in seq, which the
            # temporal worker states as a gap.
            self._observer.observe(FeaturesRefused(stream_id, answer.value))
            return True
        queue = self._pending[stream_id]
        queue.popleft()
        if not queue:
            del self._pending[stream_id]
        frames = 0 if isinstance(entry, StatusNote) else len(entry)
        if answer is PublishAnswer.FENCED:
            self._observer.observe(FeaturesRefused(stream_id, answer.value))
            if frames:
                self._observer.observe(FramesDropped(stream_id, DropReason.REFUSED, frames))
            self._refused(stream_id, entry.entry_us)
        elif frames:
            self._observer.observe(FeaturesPublished(stream_id, frames))
        return True
