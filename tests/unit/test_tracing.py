"""Which frames are traced, how their context travels, which spans come of it."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.exposition import generate_latest

from streamer.core.config import TracingSettings
from streamer.core.errors import ConfigError
from streamer.core.event import EventType
from streamer.core.frame import FrameBatch
from streamer.core.trace import TraceContext
from streamer.stages.encode import assemble_chunks
from streamer.telemetry.observer import (
    BatchAdvanced,
    BatchEncoded,
    CommitRefused,
    DropReason,
    EventCommitted,
    FramesDropped,
    FramesSent,
    TracedFrame,
)
from streamer.telemetry.otel import MAX_WAITING_SPANS, Complaints, OtelSink
from streamer.telemetry.prometheus import PrometheusObserver
from streamer.telemetry.spans import TracingObserver
from streamer.telemetry.tracing import HeadSampler, Span, open_tracing
from streamer.transport.codec import (
    StampWire,
    decode_path_entry,
    encode_input,
    encode_stamp,
    encode_traces,
    read_entry,
)
from tests.collector import Collector, hanging_collector, refusing_collector
from tests.eventlog import make_event
from tests.samples import chunk, stamp

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
    return BatchAdvanced(1, 3, [0.1] * 3, [0.2] * 3, 0.5, 0.25, frames)


# Which frames.


@given(every=st.integers(1, 60), first=st.integers(0, 1000), name=st.text(min_size=1))
def test_one_frame_in_so_many_of_each_stream(every, first, name):
    sampler = HeadSampler(every)
    chosen = [
        seq
        for seq in range(first, first + 3 * every)
        if sampler.sample(stamp(name, seq)) is not None
    ]
    assert len(chosen) == 3
    assert {b - a for a, b in pairwise(chosen)} == {every}


def test_a_frame_that_is_read_again_is_chosen_again_and_has_the_same_trace():
    frames = [stamp("cam", seq) for seq in range(40)]
    first, again = ([HeadSampler(8).sample(f) for f in frames] for _ in range(2))
    assert first == again
    other = [HeadSampler(8).sample(replace(f, session="s2")) for f in frames]
    assert [t is None for t in other] == [t is None for t in first]
    assert not {t for t in other if t} & {t for t in first if t}


def test_streams_and_epochs_take_turns():
    def place(stream_id, epoch):
        chosen = HeadSampler(100).sample
        return next(s for s in range(100) if chosen(stamp(stream_id, s, epoch=epoch)))

    assert len({place(f"cam-{n}", 1) for n in range(50)}) > 30
    assert len({place("cam", epoch) for epoch in range(1, 51)}) > 30


# What travels.


def test_a_context_is_read_as_the_standard_writes_it():
    text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert TraceContext.parse(text) == TRACE
    assert TRACE.traceparent == text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",  # not sampled
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n",
    ],
)
def test_what_is_no_sampled_context_is_none(text):
    assert TraceContext.parse(text) is None


@pytest.mark.parametrize("place", [{"ring": "r", "generation": 3}, {"pixels": b"123"}])
def test_the_context_travels_with_the_frame(place):
    for trace in (TRACE, None):
        sent = stamp(trace=trace)
        wire = decode_path_entry(encode_stamp(StampWire.of(sent, shape=(8, 8, 3), **place)))
        assert isinstance(wire, StampWire)
        assert wire.stamp() == sent


def test_frames_of_who_does_not_know_it_and_for_who_does_not():
    fields = msgspec.msgpack.decode(encode_stamp(StampWire.of(stamp(trace=TRACE), shape=(8, 8, 3))))
    assert fields[-1] == TRACE.traceparent
    old = decode_path_entry(msgspec.msgpack.encode(fields[:-1]))
    assert old.stamp() == stamp()
    newer = decode_path_entry(msgspec.msgpack.encode([*fields, "what comes later"]))
    assert newer.stamp() == stamp(trace=TRACE)


def test_the_context_travels_beside_the_bytes_of_the_features():
    plain = chunk(length=3)
    sampled = chunk(length=3, traces=((0, TRACE), (2, OTHER)))
    assert encode_input(sampled) == encode_input(plain)
    assert encode_traces(plain) == b""
    read = read_entry("cam", 1, encode_input(sampled), encode_traces(sampled))
    assert read.entry.traces == sampled.traces
    assert read_entry("cam", 1, encode_input(sampled)).entry.traces == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'[[0,"nonsense"]]',
        b"[[9" + b',"' + TRACE.traceparent.encode() + b'"]]',
    ],
)
def test_a_damaged_context_costs_the_trace_and_nothing_else(raw):
    read = read_entry("cam", 1, encode_input(chunk(length=3)), raw)
    assert read.entry.traces == ()
    assert read.entry.features.tobytes() == chunk(length=3).features.tobytes()


def test_a_chunk_has_the_contexts_of_its_frames():
    stamps = [stamp("a", 0), stamp("b", 0, trace=OTHER), stamp("a", 1, trace=TRACE)]
    batch = FrameBatch(stamps, np.zeros((3, 4, 4, 3), np.uint8))
    features_ND = np.zeros((3, 2), np.float16)
    ready = stamps[0].ready
    a, b = assemble_chunks(batch, features_ND, encoder_id="e", taken=ready, ready=ready)
    assert (a.traces, b.traces) == (((1, TRACE),), ((0, OTHER),))


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


# Switching it on.

_WITHOUT_OTEL = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from workers.main import main
from workers.encoder import EncoderService
sys.exit(main("encoder", lambda settings, observer, _: sys.exit(7), sys.argv[1:]))
"""


def without_otel(*arguments):
    command = [sys.executable, "-c", _WITHOUT_OTEL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_without_the_extra_everything_but_tracing_works():
    assert without_otel().returncode == 7
    done = without_otel("--set", "tracing.endpoint=http://127.0.0.1:4318")
    assert done.returncode == 2
    assert "tracing.endpoint: tracing needs OpenTelemetry" in done.stderr
    assert "pip install 'streamer[otel]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_while_it_is_off_nothing_of_it_is_imported():
    # The Redis client imports OpenTelemetry's metrics by itself where it finds them.
    program = (
        "import sys; from streamer.core.config import TracingSettings; import workers.temporal; "
        "from streamer.telemetry.tracing import open_tracing; "
        "assert open_tracing(TracingSettings(), role='temporal') is None; "
        "print([m for m in sys.modules if m.startswith(('opentelemetry.exporter',"
        "'opentelemetry.sdk.trace', 'opentelemetry.proto', 'streamer.telemetry.otel'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_role_that_no_frame_passes_has_none():
    settings = TracingSettings(endpoint="http://127.0.0.1:4318")
    assert open_tracing(settings, role="gateway") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"endpoint": "collector:4318"}, "expected the URL of an OTLP/HTTP receiver"),
        ({"endpoint": "grpc://collector:4317"}, "found grpc://collector"),
        ({"endpoint": "http://me:secret@collector"}, "tracing.headers_file"),
        ({"endpoint": "http://c", "headers_file": "/nowhere"}, "headers_file /nowhere: can't be"),
        ({"endpoint": "http://c", "tls_ca": "/nowhere"}, "expected a PEM file"),
    ],
)
def test_wrong_settings_are_said(changes, said):
    with pytest.raises(ConfigError) as caught:
        open_tracing(TracingSettings(**changes), role="encoder")
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_wrong_line_of_headers_is_named_by_its_number_alone(tmp_path):
    file = tmp_path / "headers"
    file.write_text("# for the receiver\nAuthorization: Bearer abc\nsecret\n")
    with pytest.raises(ConfigError, match=r"line 3: expected `Name: value`$"):
        OtelSink(TracingSettings(endpoint="http://c", headers_file=str(file)), role="encoder")


@pytest.fixture
def log_lines(capsys):
    return lambda: [line for line in capsys.readouterr().out.splitlines() if line]


def span(seq=0):
    now_ns = NOW_NS + seq
    return Span(name="ingest", start_ns=now_ns, end_ns=now_ns + 1, own=TRACE, links=[OTHER])


def test_a_span_arrives_as_it_was_said(tmp_path):
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer abc\n")
    with closing(Collector()) as collector:
        sink = OtelSink(
            TracingSettings(endpoint=f"{collector.url}/", headers_file=str(headers)), role="encoder"
        )
        assert sink.emit(span()) == TRACE
        below = sink.emit(replace(span(1), own=None, parent=TRACE, name="commit", error="stale"))
        alone = sink.emit(replace(span(2), own=None, name="encode_batch"))
        sink.close(deadline_seconds=20)
        first, second, third = collector.spans
    assert (first.trace_id, first.span_id) == (TRACE.trace_id, TRACE.span_id)
    assert (first.service, first.name, first.parent_id) == ("streamer-encoder", "ingest", "")
    assert (first.start_ns, first.end_ns) == (NOW_NS, NOW_NS + 1)
    assert first.links == ((OTHER.trace_id, OTHER.span_id),)
    assert (second.trace_id, second.span_id) == (TRACE.trace_id, below.span_id)
    assert (second.parent_id, second.error) == (TRACE.span_id, "stale")
    assert (third.trace_id, third.parent_id) == (alone.trace_id, "")
    assert third.trace_id != TRACE.trace_id
    assert collector.headers[0]["authorization"] == "Bearer abc"


@pytest.mark.timeout(20)  # the library's own shutdown waits for 30 seconds
@pytest.mark.parametrize("kind", ["refusing", "hanging", "failing"])
def test_a_collector_that_is_none_delays_nobody(kind, log_lines):
    with ExitStack() as stack:
        if kind == "failing":
            collector = stack.enter_context(closing(Collector(status=500)))
            url = collector.url
        else:
            made = refusing_collector() if kind == "refusing" else hanging_collector()
            url = stack.enter_context(made)
        sink = OtelSink(TracingSettings(endpoint=url, timeout_seconds=0.5), role="encoder")
        for seq in range(2 * MAX_WAITING_SPANS):
            sink.emit(span(seq))
        sink.close(deadline_seconds=1.0)
        said = log_lines()
    assert any("Failed to export" in line or "given up" in line for line in said)
    assert not any("Traceback" in line for line in said)
    assert len(said) <= 6


def test_complaints_are_a_line_each_and_not_too_many(capsys):
    now = [0.0]
    complaints = Complaints(clock=lambda: now[0])
    logger = logging.getLogger("tests.complaints")
    logger.handlers, logger.propagate = [complaints], False
    for second in range(120):
        now[0] = float(second)
        logger.error("no answer from %s", f"collector {second}")
        try:
            raise OSError("broken pipe")
        except OSError:
            logger.exception("while exporting")
    said = Counter(capsys.readouterr().out.splitlines())
    assert len(said) == 4
    assert not any("Traceback" in line for line in said)
    assert sum("collector 60" in line and "left_out=59" in line for line in said) == 1
    assert sum("broken pipe" in line for line in said) == 2
