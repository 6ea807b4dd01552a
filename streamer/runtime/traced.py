"""The frames among others that were sampled for tracing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.event import StatusData
from streamer.core.feature import FeatureChunk
from streamer.telemetry.records.frames import TracedFrame
from streamer.transport.transport import LogEntry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.core.clock import Mark
    from streamer.core.event import Event
    from streamer.core.frame import FrameStamp
    from streamer.core.trace import TraceContext
    from streamer.transport.transport import Unreadable

MAX_REMEMBERED = 1_024
"""Sampled frames whose events may still come: a model that looks ahead decides them later."""


def traced(stamps: Sequence[FrameStamp], waited_seconds: Sequence[float]) -> list[TracedFrame]:
    """The sampled ones among frames that waited so long."""
    return [
        TracedFrame(
            stream_id=stamp.stream_id,
            epoch=stamp.epoch,
            seq=stamp.seq,
            trace=stamp.trace,
            waited_seconds=waited,
        )
        for stamp, waited in zip(stamps, waited_seconds, strict=True)
        if stamp.trace is not None
    ]


class TracedFrames:
    """The newest sampled frames that were folded in: their events belong to their traces.

    Nothing that is stored or decided depends on it.
    """

    def __init__(self) -> None:
        self._traces: dict[tuple[str, int, int], TraceContext] = {}

    def among(
        self, read: Mapping[str, Sequence[LogEntry | Unreadable]], *, taken: Mark
    ) -> list[TracedFrame]:
        """The sampled frames of entries that were taken up at `taken`."""
        found = [
            TracedFrame(
                stream_id=entry.stream_id,
                epoch=entry.epoch,
                seq=entry.first_seq + row,
                trace=trace,
                waited_seconds=taken.seconds_since(entry.ready, otherwise=taken),
            )
            for rows in read.values()
            for entry in (item.entry for item in rows if isinstance(item, LogEntry))
            if isinstance(entry, FeatureChunk)
            for row, trace in entry.traces
        ]
        for frame in found:
            self._traces[frame.stream_id, frame.epoch, frame.seq] = frame.trace
        while len(self._traces) > MAX_REMEMBERED:
            del self._traces[next(iter(self._traces))]
        return found

    def of(self, event: Event) -> TraceContext | None:
        """The trace of the frame that decided an event; a camera's status is no frame's."""
        if not self._traces or isinstance(event.data, StatusData):
            return None
        frame = event.data.frame
        return self._traces.get((event.stream_id, frame.epoch, frame.seq))
