"""Tracing with real workers and a real OTLP receiver, and with receivers that are none."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from streamer import Pipeline
from streamer.core.event import StatusData
from streamer.core.feature import StreamStatus
from streamer.sources.recording import record
from streamer.telemetry.spans import TracingObserver
from streamer.telemetry.tracing import HeadSampler
from streamer.transport.connection import connect
from tests.collector import Collector, hanging_collector, refusing_collector
from tests.plant import KEYS, Plant, drain
from tests.workers import Farm, replay

TRACE_ID = re.compile(r"[0-9a-f]{32}")
SPAN_ID = re.compile(r"[0-9a-f]{16}")


@pytest.fixture
def farm(valkey, tmp_path):
    made = Farm(valkey.url, tmp_path)
    with contextlib.closing(made):
        yield made


@pytest.fixture
def collector():
    with contextlib.closing(Collector()) as made:
        yield made


def said(events):
    """Without what depends on when it was computed."""
    return [
        (e.id, e.type, e.sequence, getattr(e.data, "label", None), e.data.frame.seq,
         getattr(e.data, "confidence", None), getattr(e.data, "status", None))
        for e in events
    ]  # fmt: skip


def logged(worker):
    return [json.loads(line) for line in worker.log_path.read_text().splitlines()]


def exemplars(worker):
    connection = http.client.HTTPConnection("127.0.0.1", worker.ready.metrics_port, timeout=5)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    connection.request("GET", "/metrics", headers=accept)
    text = connection.getresponse().read().decode()
    connection.close()
    return {
        sample.exemplar.labels["trace_id"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "streamer_event_latency_seconds_bucket" and sample.exemplar
    }


# What is stored does not depend on it.


class _Discard:
    def emit(self, span):
        return span.own or span.parent or span.links[0]


def stored(url, *, sampler):
    """What a server holds after the same input: events, states, input, byte for byte."""
    client = connect(url)
    client.flushall()
    plant = Plant(client)
    observer = None if sampler is None else TracingObserver(_Discard())
    plant.publish(60, sampler=sampler)
    drain(plant.pump(observer=observer))
    assert plant.verify().difference is None
    features = client.xrange(KEYS.features("cam"))
    held = (
        [fields for _, fields in plant.events()],
        client.hgetall(KEYS.state("cam")),
        client.hgetall(KEYS.source("cam")),
        [(entry_id, fields[b"e"]) for entry_id, fields in features],
    )
    traced = sum(b"t" in fields for _, fields in features)
    client.close()
    return held, traced


def test_what_is_stored_is_the_same_to_the_bit_whatever_is_traced(valkey):
    plain, none = stored(valkey.url, sampler=None)
    assert len(plain[0]) > 10
    assert none == 0
    for every, expected in ((1, 60), (7, 60 // 7)):
        held, traced = stored(valkey.url, sampler=HeadSampler(every))
        assert traced in (expected, expected + 1)
        assert held == plain


# Real workers.


def test_traces_logs_and_metrics_name_the_same_frames(farm, collector):
    """One frame in three: its spans, the log's lines and the exemplars have its trace."""
    settings = {"tracing__endpoint": collector.url, "tracing__sample_every": 3}
    farm.want("cam=synthetic:workcell?fps=10")
    workers = farm.start("ingest", "encoder", "temporal", **settings)
    _, _, temporal = workers
    collector.wait_for(lambda c: any(span.events for span in c.named("commit")))
    collector.wait_for(lambda c: exemplars(temporal) & {s.trace_id for s in c.named("ingest")})
    seqs = sorted(span.attributes["streamer.seq"] for span in collector.named("ingest"))
    assert {seq % 3 for seq in seqs} == {seqs[0] % 3}
    committed = [span for span in collector.named("commit") if span.events]
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.finish(deadline=time.monotonic() + 10)
    lines = [line for worker in workers for line in logged(worker)]
    for line in lines:
        assert {"event", "level", "timestamp", "role"} <= line.keys()
    said = {line["trace_id"]: line for line in lines if line["event"] == "event"}
    for line in said.values():
        assert (line["level"], line["role"], line["stream"]) == ("info", "temporal", "cam")
        assert TRACE_ID.fullmatch(line["trace_id"])
        assert SPAN_ID.fullmatch(line["span_id"])
    root = {span.trace_id: span.span_id for span in collector.named("ingest")}
    for span in committed:
        assert said[span.trace_id]["span_id"] == span.parent_id == root[span.trace_id]
    done = replay(farm, "--stream", "cam")
    assert done.returncode == 0, done.stderr


def test_receivers_that_refuse_hang_or_fail_change_no_event(farm, tmp_path):
    path = tmp_path / "cell.mp4"
    record(path, seconds=5, seed=1009)
    farm.want(f"cell={path}")
    with contextlib.ExitStack() as stack:
        refusing = stack.enter_context(refusing_collector())
        hanging = stack.enter_context(hanging_collector())
        failing = stack.enter_context(contextlib.closing(Collector(status=500)))
        common = {"tracing__sample_every": 1, "tracing__timeout_seconds": 1, "drain_seconds": 2}
        (encoder,) = farm.start("encoder", tracing__endpoint=hanging, **common)
        (temporal,) = farm.start("temporal", tracing__endpoint=failing.url, **common)
        (ingest,) = farm.start("ingest", tracing__endpoint=refusing, **common)
        farm.wait_for(lambda: any(_is_end(event) for event in farm.events()))
        failing.wait_for(lambda c: c.requests > 0)
        for worker in (ingest, encoder, temporal):
            worker.terminate()
        for worker in (ingest, encoder, temporal):
            worker.finish(deadline=time.monotonic() + 10)
    with Pipeline(str(path)) as pipeline:
        assert said(pipeline) == said(farm.events())
    for worker in (ingest, encoder, temporal):
        lines = logged(worker)
        assert lines[-1]["event"] == "stopped"
        assert any(line["event"] in ("tracing", "spans given up") for line in lines)
        assert not any("exception" in line for line in lines)


def _is_end(event):
    return isinstance(event.data, StatusData) and event.data.state is StreamStatus.ENDED
