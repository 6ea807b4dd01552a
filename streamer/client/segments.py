"""Which segments are open: a fold of the event log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from streamer.client.saying import saying_of
from streamer.core.event import EventType, GapReason, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.client.log import LoggedEvent
    from streamer.client.saying import Said, SegmentStart

_ENDS = frozenset({EventType.ACTION_END, EventType.ANOMALY_END})
_ABOUT_SEGMENTS = frozenset(
    {
        *_ENDS,
        EventType.ACTION_START,
        EventType.ACTION_UPDATE,
        EventType.ANOMALY_START,
        EventType.PHASE_TRANSITION,
    }
)
_CONCERNED = _ABOUT_SEGMENTS | {EventType.STREAM_GAP, EventType.MODEL_CHANGED}
_FIRST_SEQUENCE = "0" * 16


class SegmentKey(NamedTuple):
    """Tells the open segments of a stream apart. `kind`: `action`, `phase` or `anomaly`."""

    kind: str
    label: str
    start_seq: int


class OpenSegments:
    """The newest event about each segment that is open, by stream."""

    def __init__(self) -> None:
        self._streams: dict[str, dict[SegmentKey, LoggedEvent]] = {}
        self._sorted: tuple[LoggedEvent, ...] | None = ()

    @property
    def events(self) -> tuple[LoggedEvent, ...]:
        """One per open segment, in the order of the log."""
        if self._sorted is None:
            found = (event for segments in self._streams.values() for event in segments.values())
            self._sorted = tuple(sorted(found, key=lambda event: event.id))
        return self._sorted

    def take(self, event: LoggedEvent) -> None:
        """The next entry of its partition.

        Raises:
            TransportError: It is no event.
        """
        if event.type not in _CONCERNED:
            return
        self._sorted = None
        saying = saying_of(event)
        said = saying.data
        segments = self._streams.setdefault(event.stream_id, {})
        if saying.sequence == _FIRST_SEQUENCE:
            segments.clear()  # the stream began anew
        if said.segment is None:
            # What was open under a state that could not be read has no end.
            if event.type == EventType.MODEL_CHANGED or said.reason == GapReason.STATE:
                segments.clear()
            return
        key = _key(event, said, said.segment)
        if event.type in _ENDS or said.status == Status.RETRACTED:
            segments.pop(key, None)
            return
        if event.type == EventType.PHASE_TRANSITION and said.status == Status.CONFIRMED:
            # Phases follow each other, and are confirmed in order: those before are over.
            for other in [one for one in segments if one.kind == key.kind]:
                if said.label is None or other.start_seq < key.start_seq:
                    del segments[other]
            if said.label is None:
                return
        segments[key] = event

    def forget(self, partitions: Iterable[int]) -> None:
        """Forget what these partitions said."""
        gone = set(partitions)
        self._sorted = None
        for stream_id in list(self._streams):
            segments = self._streams[stream_id]
            if any(event.partition in gone for event in segments.values()):
                del self._streams[stream_id]


class SegmentsBefore:
    """The same, read backwards: collects, newest first, the entries that `OpenSegments` needs.

    Of each segment only the newest event counts, and of the confirmed phases only the last. So it
    holds little, however long the log.
    """

    def __init__(self) -> None:
        self._entries: list[LoggedEvent] = []
        self._known: set[tuple[str, SegmentKey]] = set()
        self._complete: set[str] = set()
        self._phase_since: dict[str, float] = {}
        """By stream, the first frame of the confirmed phase; infinity where it left its last."""

    def take(self, event: LoggedEvent) -> None:
        """The entry before the last one of its partition.

        Raises:
            TransportError: It is no event.
        """
        stream_id = event.stream_id
        if event.type not in _CONCERNED or stream_id in self._complete:
            return
        saying = saying_of(event)
        said = saying.data
        if saying.sequence == _FIRST_SEQUENCE:
            self._complete.add(stream_id)
        if said.segment is None:
            if event.type == EventType.MODEL_CHANGED or said.reason == GapReason.STATE:
                self._complete.add(stream_id)
            return
        key = _key(event, said, said.segment)
        known = (stream_id, key) in self._known
        self._known.add((stream_id, key))
        over = event.type == EventType.PHASE_TRANSITION and self._is_over(stream_id, said, key)
        if not known and not over and event.type not in _ENDS:
            self._entries.append(event)

    def _is_over(self, stream_id: str, said: Said, key: SegmentKey) -> bool:
        since = self._phase_since.get(stream_id)
        if said.label is None:
            self._phase_since[stream_id] = math.inf
        elif said.status == Status.CONFIRMED and since is None:
            self._phase_since[stream_id] = key.start_seq
        # Announced before the confirmed one was, and after it in the video: still undecided.
        return since is not None and (said.status == Status.CONFIRMED or key.start_seq <= since)

    def fold_into(self, segments: OpenSegments) -> None:
        """What was open after the newest entry."""
        for event in reversed(self._entries):
            segments.take(event)


def _key(event: LoggedEvent, said: Said, segment: SegmentStart) -> SegmentKey:
    return SegmentKey(event.type.split(".")[1], said.label or "", segment.start_seq)
