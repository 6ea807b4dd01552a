"""`streamer run` with every frame traced: connected traces from the camera to the event's id."""

from __future__ import annotations

import contextlib
from collections import defaultdict

import pytest

from streamer import Pipeline
from streamer.core.event import StatusData
from streamer.sources.recording import record
from tests.collector import Collector

pytestmark = pytest.mark.alone

FRAME = ["ingest", "frame_wait", "encode", "publish", "feature_wait", "temporal", "commit"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("traced") / "cell.mp4"
    record(path, seconds=6, seed=1009)
    return path


@pytest.fixture
def run(streamer, clip):
    with contextlib.closing(Collector()) as collector:
        done = streamer(
            "run", str(clip), "--json", "--for", "60", "--no-gateway",
            STREAMER_TRACING__ENDPOINT=collector.url, STREAMER_TRACING__SAMPLE_EVERY="1",
        )  # fmt: skip
    assert (done.code, done.stderr) == (0, "")
    return done.events, collector.spans


def test_a_traced_run_gives_connected_traces_and_the_same_events(run, clip):
    events, spans = run
    with Pipeline(str(clip)) as pipeline:
        assert [(e.id, e.number, e.type) for e in pipeline] == [
            (e.id, e.number, e.type) for e in events
        ]
    by_id = {span.span_id: span for span in spans}
    traces = defaultdict(list)
    for span in spans:
        traces[span.trace_id].append(span)
    roots = [span for span in spans if span.name == "ingest"]
    assert len(roots) == len({span.trace_id for span in roots}) >= 50
    batches_met = set()
    for root in roots:
        # The last frame has a second commit: what is open ends with it, when the file does.
        latest_first = sorted(traces[root.trace_id], key=lambda span: -span.start_ns)
        trace = {span.name: span for span in latest_first}
        assert set(trace) == set(FRAME), root.attributes
        assert root.parent_id == ""
        assert all(trace[name].parent_id == root.span_id for name in FRAME[1:])
        # One after the other. (What is published is awaited already.)
        for names in (FRAME[1:4], FRAME[4:]):
            ends = [at for name in names for at in (trace[name].start_ns, trace[name].end_ns)]
            assert ends == sorted(ends)
        assert root.start_ns < trace["encode"].start_ns < trace["temporal"].start_ns
        assert {trace[name].service for name in FRAME[1:4]} == {"streamer-encoder"}
        assert {trace[name].service for name in FRAME[4:]} == {"streamer-temporal"}
        about = ("streamer.stream", "streamer.epoch", "streamer.seq")
        assert len({tuple(trace[name].attributes[key] for key in about) for name in FRAME}) == 1
        for work, batch_name in (("encode", "encode_batch"), ("temporal", "temporal_batch")):
            ((batch_trace, batch_id),) = trace[work].links
            batch = by_id[batch_id]
            assert (batch.name, batch.trace_id, batch.parent_id) == (batch_name, batch_trace, "")
            assert (root.trace_id, root.span_id) in batch.links
            assert (batch.start_ns, batch.service) == (trace[work].start_ns, trace[work].service)
            batches_met.add(batch_id)
    assert batches_met == {span.span_id for span in spans if span.name.endswith("_batch")}
    told = {
        said["streamer.event.id"]: span
        for span in spans
        for name, said in span.events
        if name == "event"
    }
    decided = [event for event in events if not isinstance(event.data, StatusData)]
    assert told.keys() == {event.id for event in decided}
    seq_of = {root.trace_id: root.attributes["streamer.seq"] for root in roots}
    for event in decided:
        assert seq_of[told[event.id].trace_id] == event.data.frame.seq
