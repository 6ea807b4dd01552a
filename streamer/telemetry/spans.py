"""Records → spans.

A frame's trace begins where it is read. Its context travels with it unchanged; each worker adds,
once the work is done, spans below the frame's first. What is done for many frames at once is a span
in a trace of its own, linked with each sampled frame, and each of these with it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streamer.core.trace import TraceContext
from streamer.telemetry.records.encoder import BatchEncoded
from streamer.telemetry.records.frames import FramesDropped
from streamer.telemetry.records.ingest import FramesSent
from streamer.telemetry.records.temporal import BatchAdvanced, CommitRefused, EventCommitted
from streamer.telemetry.tracing import Attributes, Span, SpanEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.core.frame import FrameStamp
    from streamer.telemetry.observer import Record
    from streamer.telemetry.records.frames import TracedFrame
    from streamer.telemetry.tracing import SpanSink


class TracingObserver:
    """Records → spans. The spans of one batch lie end to end before the time it is told of.

    Args:
        sink: Where they go.
        utc_ns: The time.
    """

    def __init__(self, sink: SpanSink, *, utc_ns: Callable[[], int] = time.time_ns) -> None:
        self._sink = sink
        self._utc_ns = utc_ns
        self._events: dict[TraceContext, tuple[Attributes, list[SpanEvent]]] = {}
        self._refused: dict[str, str] = {}

    def observe(self, record: Record) -> None:
        """Make spans of one that is about sampled frames."""
        match record:
            case FramesSent(traced=traced) if traced:
                self._sent(traced)
            case FramesDropped(trace=trace) if trace is not None:
                self._dropped(record, trace)
            case BatchEncoded(traced=traced) if traced:
                self._encoded(record)
            case EventCommitted(trace_id=trace_id, span_id=span_id) if trace_id and span_id:
                self._committed(record, TraceContext(trace_id, span_id))
            case CommitRefused(stream_id, answer):
                self._refused[stream_id] = answer
            case BatchAdvanced():
                if record.traced or self._events:
                    self._advanced(record)
                self._refused.clear()

    def _sent(self, stamps: Sequence[FrameStamp]) -> None:
        now_ns = self._utc_ns()
        for stamp in stamps:
            self._sink.emit(
                Span(
                    name="ingest",
                    start_ns=min(stamp.received_at_ns, now_ns),
                    end_ns=now_ns,
                    own=stamp.trace,
                    attributes={
                        **_frame(stamp),
                        "streamer.captured_ns": stamp.captured_at_ns,
                        "streamer.clock": stamp.clock.value,
                        "streamer.decode_seconds": stamp.decode_seconds,
                    },
                )
            )

    def _dropped(self, record: FramesDropped, trace: TraceContext) -> None:
        now_ns = self._utc_ns()
        self._sink.emit(
            Span(
                name="drop",
                start_ns=now_ns,
                end_ns=now_ns,
                parent=trace,
                attributes={
                    "streamer.stream": record.stream_id,
                    "streamer.drop_reason": record.reason.value,
                },
                error=record.reason.value,
            )
        )

    def _encoded(self, record: BatchEncoded) -> None:
        batch = _Batch(
            self._sink,
            ("frame_wait", "encode", "publish"),
            (record.encode_seconds, record.publish_seconds),
            end_ns=self._utc_ns(),
        )
        batch.begin("encode_batch", record.traced, num_frames=len(record.frame_wait_seconds))
        for frame in record.traced:
            batch.pass_through(frame)

    def _committed(self, record: EventCommitted, trace: TraceContext) -> None:
        event = record.event
        attributes: Attributes = {
            "streamer.event.id": event.id,
            "streamer.event.type": event.type.value,
            "streamer.event.sequence": event.number,
        }
        label = getattr(event.data, "label", None)
        if label is not None:
            attributes["streamer.event.label"] = label
        about = _attributes(event.stream_id, event.data.frame.epoch, event.data.frame.seq)
        _, events = self._events.setdefault(trace, (about, []))
        events.append(SpanEvent(name="event", at_ns=self._utc_ns(), attributes=attributes))

    def _advanced(self, record: BatchAdvanced) -> None:
        batch = _Batch(
            self._sink,
            ("feature_wait", "temporal", "commit"),
            (record.temporal_seconds, record.commit_seconds),
            end_ns=self._utc_ns(),
        )
        batch.begin("temporal_batch", record.traced, num_frames=record.frames)
        for frame in record.traced:
            _, events = self._events.pop(frame.trace, (None, ()))
            error = self._refused.get(frame.stream_id, "")
            batch.pass_through(frame, events=events, error=error)
        # A model that looks ahead decides a frame when later ones come.
        for trace, (about, events) in self._events.items():
            batch.finish(trace, about, events=events)
        self._events.clear()


class _Batch:
    """The spans of work done for many frames at once, and of each sampled frame in it.

    Args:
        sink: Where they go.
        stages: Names of a frame's waiting, of the work, and of what hands it on.
        seconds: How long the last two took.
        end_ns: When it was done.
    """

    def __init__(
        self,
        sink: SpanSink,
        stages: tuple[str, str, str],
        seconds: tuple[float, float],
        *,
        end_ns: int,
    ) -> None:
        self._sink = sink
        self._waiting, self._work, self._handing_on = stages
        self._handed_ns = end_ns
        self._done_ns = end_ns - _ns(seconds[1])
        self._taken_ns = self._done_ns - _ns(seconds[0])
        self._links: tuple[TraceContext, ...] = ()

    def begin(self, name: str, frames: Sequence[TracedFrame], *, num_frames: int) -> None:
        """The batch's own span, linked with each sampled frame."""
        if frames:
            whole = Span(
                name=name,
                start_ns=self._taken_ns,
                end_ns=self._handed_ns,
                attributes={
                    "streamer.batch_frames": num_frames,
                    "streamer.batch_sampled_frames": len(frames),
                },
                links=[frame.trace for frame in frames],
            )
            self._links = (self._sink.emit(whole),)

    def pass_through(
        self, frame: TracedFrame, *, events: Sequence[SpanEvent] = (), error: str = ""
    ) -> None:
        """The spans of a frame: it waits, is worked on with others, and is handed on."""
        began_ns = self._taken_ns - _ns(frame.waited_seconds)
        about = _frame(frame)
        self._stage(self._waiting, frame.trace, began_ns, self._taken_ns, about)
        self._stage(
            self._work, frame.trace, self._taken_ns, self._done_ns, about, links=self._links
        )
        self.finish(frame.trace, about, events=events, error=error)

    def finish(
        self,
        trace: TraceContext,
        about: Attributes,
        *,
        events: Sequence[SpanEvent],
        error: str = "",
    ) -> None:
        """The last span of a frame."""
        self._sink.emit(
            Span(
                name=self._handing_on,
                start_ns=self._done_ns,
                end_ns=self._handed_ns,
                parent=trace,
                attributes=about,
                events=events,
                error=error,
            )
        )

    def _stage(
        self,
        name: str,
        trace: TraceContext,
        start_ns: int,
        end_ns: int,
        attributes: Attributes,
        *,
        links: Sequence[TraceContext] = (),
    ) -> None:
        self._sink.emit(
            Span(
                name=name,
                start_ns=start_ns,
                end_ns=end_ns,
                parent=trace,
                attributes=attributes,
                links=links,
            )
        )


def _frame(frame: FrameStamp | TracedFrame) -> Attributes:
    return _attributes(frame.stream_id, frame.epoch, frame.seq)


def _attributes(stream_id: str, epoch: int, seq: int) -> Attributes:
    return {"streamer.stream": stream_id, "streamer.epoch": epoch, "streamer.seq": seq}


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
