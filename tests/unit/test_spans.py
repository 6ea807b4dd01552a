"""Records about sampled frames → spans, and exemplars."""

from __future__ import annotations

from prometheus_client.openmetrics.exposition import generate_latest

from streamer.core.event import EventType
from streamer.core.trace import TraceContext
from streamer.telemetry.prometheus import PrometheusObserver
from streamer.telemetry.records.encoder import BatchEncoded
from streamer.telemetry.records.frames import DropReason, FramesDropped, TracedFrame
from streamer.telemetry.records.ingest import FramesSent
from streamer.telemetry.records.temporal import BatchAdvanced, CommitRefused, EventCommitted
from streamer.telemetry.spans import TracingObserver
from tests.eventlog import make_event
from tests.samples import stamp

NOW_NS = 1_767_225_600_000_000_000
TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
OTHER = TraceContext("1" * 32, "2" * 16)


class Sink:
    """Keeps spans."""

    def __init__(self):
        self.spans = []

    def emit(self, span):
        self.spans.append(span)
        return span.own or TraceContext("e" * 32, f"{len(self.spans):016x}")

    def close(self, *, deadline_seconds):
        pass


def spans_of(*records):
    sink = Sink()
    observer = TracingObserver(sink, utc_ns=lambda: NOW_NS)
    for record in records:
        observer.observe(record)
    return sink.spans


def traced(trace=TRACE, *, stream_id="cam", seq=7, waited_seconds=0.25):
    return TracedFrame(
        stream_id=stream_id, epoch=1, seq=seq, trace=trace, waited_seconds=waited_seconds
    )


def advanced(*frames):
    return BatchAdvanced(
        committed=["cam"],
        steps=1,
        frames=3,
        feature_wait_seconds=[0.1] * 3,
        frame_age_seconds=[0.2] * 3,
        temporal_seconds=0.5,
        commit_seconds=0.25,
        traced=frames,
    )


# The spans.


def test_a_sent_frame_is_the_first_span_of_its_trace():
    sent = stamp(trace=TRACE, received_at_ns=NOW_NS - 5_000_000)
    (span,) = spans_of(FramesSent({"cam": 1}, [0.001], [sent]))
    assert (span.name, span.own, span.parent) == ("ingest", TRACE, None)
    assert (span.start_ns, span.end_ns) == (NOW_NS - 5_000_000, NOW_NS)
    assert span.attributes["streamer.stream"] == "cam"
    assert span.attributes["streamer.captured_ns"] == sent.captured_at_ns


def test_a_batch_is_linked_with_its_sampled_frames_and_they_with_it():
    frames = [traced(), traced(OTHER, stream_id="b", waited_seconds=0.5)]
    whole, *own = spans_of(BatchEncoded([0.25, 0.1, 0.5], 1.0, 0.5, frames))
    assert (whole.name, whole.parent, whole.links) == ("encode_batch", None, [TRACE, OTHER])
    assert whole.attributes == {"streamer.batch_frames": 3, "streamer.batch_sampled_frames": 2}
    assert [(s.name, s.parent) for s in own] == [
        (name, trace) for trace in (TRACE, OTHER) for name in ("frame_wait", "encode", "publish")
    ]
    wait, encode, publish = own[3:]
    assert publish.end_ns == whole.end_ns == NOW_NS
    assert publish.start_ns == encode.end_ns == NOW_NS - 500_000_000
    assert encode.start_ns == wait.end_ns == whole.start_ns == NOW_NS - 1_500_000_000
    assert wait.start_ns == NOW_NS - 2_000_000_000
    assert encode.links == (TraceContext("e" * 32, f"{1:016x}"),)


def test_a_commit_has_the_events_of_its_frame():
    event = make_event(7, type=EventType.ACTION_START)
    committed = EventCommitted(event, TRACE.trace_id, TRACE.span_id)
    whole, *own = spans_of(committed, advanced(traced(), traced(OTHER, seq=8)))
    assert whole.name == "temporal_batch"
    assert [s.name for s in own] == ["feature_wait", "temporal", "commit"] * 2
    (said,) = own[2].events
    assert said.attributes["streamer.event.id"] == event.id
    assert said.attributes["streamer.event.label"] == "carry"
    assert own[5].events == ()


def test_an_event_of_a_frame_that_came_earlier_has_a_commit_of_its_own():
    committed = EventCommitted(make_event(3), TRACE.trace_id, TRACE.span_id)
    (span,) = spans_of(committed, advanced())
    assert (span.name, span.parent, len(span.events)) == ("commit", TRACE, 1)
    assert spans_of(EventCommitted(make_event(3)), advanced()) == []


def test_a_refused_commit_is_an_error_of_that_stream_alone():
    frames = [traced(), traced(OTHER, stream_id="b")]
    spans = spans_of(CommitRefused("b", "stale"), advanced(*frames), advanced(*frames))
    errors = [s.error for s in spans if s.name == "commit"]
    assert errors == ["", "stale", "", ""]


def test_a_dropped_frame_ends_its_trace():
    (span,) = spans_of(
        FramesDropped("cam", DropReason.LATE, 1), FramesDropped("cam", DropReason.LATE, 1, TRACE)
    )
    assert (span.name, span.parent, span.error) == ("drop", TRACE, "late")


def test_nothing_is_made_of_frames_that_were_not_chosen():
    assert (
        spans_of(FramesSent({"cam": 3}, [0.1] * 3), BatchEncoded([0.1], 0.1, 0.1), advanced()) == []
    )


# Exemplars.


def test_the_latency_of_a_traced_event_has_an_exemplar():
    observer = PrometheusObserver()
    observer.observe(EventCommitted(make_event(1)))
    assert b"trace_id" not in generate_latest(observer.registry)
    observer.observe(EventCommitted(make_event(2), TRACE.trace_id, TRACE.span_id))
    lines = [
        line for line in generate_latest(observer.registry).splitlines() if b"trace_id" in line
    ]
    assert len(lines) == 1
    assert lines[0].startswith(b"streamer_event_latency_seconds_bucket")
    assert f'# {{trace_id="{TRACE.trace_id}"}} 0.005'.encode() in lines[0]
