"""Each record and what it becomes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from streamer.core.config import MetricsSettings
from streamer.core.event import EventType, GapData, GapPolicy, GapReason, Status
from streamer.core.feature import StreamStatus
from streamer.telemetry.families import Role
from streamer.telemetry.prometheus import PrometheusObserver
from streamer.telemetry.prometheus_ingest import IngestMetrics
from streamer.telemetry.prometheus_temporal import TemporalMetrics
from streamer.telemetry.records.encoder import (
    BatchEncoded,
    EncoderServed,
    FeaturesPublished,
    FeaturesRefused,
    FeaturesResent,
    FramesWaiting,
    GpuMemory,
)
from streamer.telemetry.records.every import (
    InputRefused,
    LeasesChanged,
    StreamReleased,
    StreamTakenUp,
)
from streamer.telemetry.records.frames import DropReason, FramesDropped
from streamer.telemetry.records.ingest import (
    ClockOffset,
    FramesRefused,
    FramesSent,
    SnapshotTaken,
    StatusChanged,
    StreamDescribed,
)
from streamer.telemetry.records.model import (
    ModelPending,
    ModelRefused,
    ModelServed,
    StreamsAwaitingModel,
)
from streamer.telemetry.records.temporal import (
    BatchAdvanced,
    CommitRefused,
    DeadLettered,
    EventCommitted,
    InputLag,
    StateReset,
)
from streamer.telemetry.series import Series
from streamer.transport.transport import Refusal
from tests.eventlog import make_event
from tests.metrics import values
from tests.samples import note


def told(role, *said, **options):
    observer = PrometheusObserver(role, MetricsSettings(), **options)
    for record in said:
        observer.observe(record)
    return values(observer.registry)


def changed(event, **changes):
    return msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, **changes))


@pytest.mark.parametrize(
    ("role", "record", "expected"),
    [
        (Role.INGEST, FramesSent({"a": 2, "b": 1}, [0.004, 0.004, 3.0]), {
            ("streamer_frames_total", "analysed", "a"): 2,
            ("streamer_frames_total", "analysed", "b"): 1,
            ("streamer_stage_seconds_bucket", "0.005", "decode"): 2,
            ("streamer_stage_seconds_count", "decode"): 3,
        }),
        (Role.INGEST, StatusChanged(note(status=StreamStatus.LIVE)), {
            ("streamer_stream_up", "cam"): 1,
            ("streamer_stream_status", "live", "cam"): 1,
            ("streamer_stream_status_changes_total", "live", "cam"): 1,
            ("streamer_stream_reconnects_total", "cam"): 0,
            ("streamer_streams", "live"): 1,
            ("streamer_streams", "failed"): 0,
        }),
        (Role.INGEST, StatusChanged(note(status=StreamStatus.RECONNECTING)), {
            ("streamer_stream_up", "cam"): 0,
            ("streamer_stream_reconnects_total", "cam"): 1,
        }),
        (Role.INGEST, StreamDescribed(
            stream_id="cam", kind="rtsp", width=640, height=360, clock="host"
        ), {("streamer_stream_info", "host", "360", "rtsp", "cam", "640"): 1}),
        (Role.INGEST, ClockOffset("cam", -0.25), {
            ("streamer_stream_clock_offset_seconds", "cam"): -0.25
        }),
        (Role.INGEST, SnapshotTaken("cam", kept=False), {
            ("streamer_snapshots_total", "missed", "cam"): 1
        }),
        (Role.INGEST, FramesDropped("cam", DropReason.SEND_FULL, 3), {
            ("streamer_frames_dropped_total", "send_full", "cam"): 3
        }),
        (Role.INGEST, FramesRefused("cam", "fenced", 2), {
            ("streamer_refused_total", "fenced", "send", "cam"): 1
        }),
        (Role.INGEST, InputRefused("cam", "source", "no JSON"), {
            ("streamer_refused_total", "source", "read", "cam"): 1
        }),
        (Role.INGEST, LeasesChanged("streams", 3, 1, 2), {
            ("streamer_leases", "streams"): 2,
            ("streamer_lease_changes_total", "gained", "streams"): 3,
            ("streamer_lease_changes_total", "lost", "streams"): 1,
        }),
        (Role.ENCODER, BatchEncoded([0.01, 0.02], 0.03, 0.001), {
            ("streamer_batch_size_bucket", "2.0"): 1,
            ("streamer_batch_size_sum",): 2,
            ("streamer_stage_seconds_count", "frame_wait"): 2,
            ("streamer_stage_seconds_count", "encode"): 2,
            ("streamer_stage_seconds_sum", "encode"): 0.06,
            ("streamer_stage_seconds_count", "publish"): 1,
        }),
        (Role.ENCODER, FeaturesPublished("cam", 4), {
            ("streamer_frames_total", "encoded", "cam"): 4
        }),
        (Role.ENCODER, FeaturesResent("cam", 5, complete=True), {
            ("streamer_features_resent_total", "cam"): 5
        }),
        (Role.ENCODER, FeaturesRefused("cam", "fenced"), {
            ("streamer_refused_total", "fenced", "publish", "cam"): 1
        }),
        (Role.ENCODER, FramesWaiting(7, 0.5), {
            ("streamer_frames_waiting",): 7,
            ("streamer_frames_oldest_seconds",): 0.5,
        }),
        (Role.ENCODER, EncoderServed("torchvision:resnet50", "torch", "cuda:0"), {
            ("streamer_encoder_info", "torch", "cuda:0", "torchvision:resnet50"): 1
        }),
        (Role.ENCODER, GpuMemory("cuda:0", {"allocated": 10, "reserved": 20}), {
            ("streamer_gpu_memory_bytes", "cuda:0", "allocated"): 10,
            ("streamer_gpu_memory_bytes", "cuda:0", "reserved"): 20,
        }),
        (Role.TEMPORAL, BatchAdvanced(
            committed=["a", "b"], steps=3, frames=4, feature_wait_seconds=[0.1] * 4,
            frame_age_seconds=[0.2] * 4, temporal_seconds=0.01, commit_seconds=0.02,
        ), {
            ("streamer_commits_total",): 2,
            ("streamer_model_steps_total",): 3,
            ("streamer_frame_age_seconds_count",): 4,
            ("streamer_stage_seconds_count", "feature_wait"): 4,
            ("streamer_stage_seconds_count", "temporal"): 1,
            ("streamer_stage_seconds_sum", "commit"): 0.02,
        }),
        (Role.TEMPORAL, CommitRefused("cam", "stale"), {
            ("streamer_refused_total", "stale", "commit", "cam"): 1
        }),
        (Role.TEMPORAL, StateReset("cam", "model"), {
            ("streamer_state_resets_total", "model", "cam"): 1
        }),
        (Role.TEMPORAL, DeadLettered("cam", "poison", "entry 3"), {
            ("streamer_dead_letters_total", "poison"): 1,
            ("streamer_dead_letters_total", "misfit"): 0,
            ("streamer_stream_dead_letters_total", "poison", "cam"): 1,
        }),
        (Role.TEMPORAL, InputLag(9, 2.5, 1), {
            ("streamer_input_lag_frames",): 9,
            ("streamer_input_oldest_seconds",): 2.5,
            ("streamer_input_lag_streams",): 1,
        }),
        (Role.TEMPORAL, StreamTakenUp("cam", "grasp"), {
            ("streamer_stream_phase", "grasp", "cam"): 1,
            ("streamer_stream_events_total", "cam"): 0,
        }),
        (Role.TEMPORAL, ModelServed("sha256:m", "cells", ("carry",)), {
            ("streamer_model_info", "sha256:m", "cells"): 1,
            ("streamer_model_loads_total", "loaded"): 1,
            ("streamer_model_loads_total", "failed"): 0,
            ("streamer_actions_total", "carry"): 0,
        }),
        (Role.TEMPORAL, ModelPending("sha256:m"), {("streamer_model_pending",): 1}),
        (Role.TEMPORAL, ModelRefused("sha256:m", "gone"), {
            ("streamer_model_loads_total", "failed"): 1
        }),
        (Role.TEMPORAL, StreamsAwaitingModel(("a", "b")), {
            ("streamer_streams_awaiting_model",): 2
        }),
        (Role.TEMPORAL, EventCommitted(make_event(0)), {
            ("streamer_events_total", "streamer.stream.status"): 1,
            ("streamer_events_total", "streamer.action.start"): 0,
            ("streamer_stream_events_total", "cam"): 1,
            ("streamer_events_on_time_total",): 1,
            ("streamer_events_late_total",): 0,
            ("streamer_event_latency_seconds_sum",): 0.005,
            ("streamer_decision_delay_seconds_count",): 0,
        }),
        (Role.TEMPORAL, EventCommitted(make_event(0, type=EventType.PHASE_TRANSITION)), {
            ("streamer_stream_phase", "grasp", "cam"): 1,
            ("streamer_decision_delay_seconds_sum",): 0.2,
        }),
        (Role.GATEWAY, FramesSent({"a": 1}, [0.1]), {("streamer_metrics_left_out",): 0}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, Role | dict) else "",
)  # fmt: skip
def test_a_record_becomes(role, record, expected):
    seen = told(role, record)
    assert {key: seen.get(key) for key in expected} == expected


def test_what_alerts_and_panels_ask_the_increase_of_is_there_before_it_counts():
    seen = told(Role.TEMPORAL)
    dead = {key[1]: value for key, value in seen.items() if key[0] == "streamer_dead_letters_total"}
    assert dead == dict.fromkeys(("unreadable", "misfit", "poison", "state"), 0)
    assert {reason.value for reason in Refusal} < set(dead)
    assert seen["streamer_model_loads_total", "failed"] == 0
    assert seen["streamer_lease_changes_total", "lost", "partitions"] == 0
    assert told(Role.INGEST)["streamer_lease_changes_total", "lost", "streams"] == 0


@pytest.mark.parametrize("status", [StreamStatus.PAUSED, StreamStatus.ENDED])
def test_a_stream_that_is_meant_to_be_off_is_not_down(status):
    """Whatever the budget of detail series: `streamer_stream_status` may be missing."""
    observer = PrometheusObserver(Role.INGEST, MetricsSettings(detail_series=0))
    up = ("streamer_stream_up", "cam")
    observer.observe(StatusChanged(note(status=StreamStatus.LIVE)))
    assert values(observer.registry)[up] == 1
    observer.observe(StatusChanged(note(status=status)))
    assert up not in values(observer.registry)
    assert not any(key[0] == "streamer_stream_status" for key in values(observer.registry))
    observer.observe(StatusChanged(note(status=StreamStatus.CONNECTING)))
    assert values(observer.registry)[up] == 0


def test_the_times_are_those_of_the_clock():
    registry = CollectorRegistry()
    series = Series(registry, detail_limit=1)
    ingest = IngestMetrics(series, MetricsSettings(), clock=lambda: 1000.0)
    temporal = TemporalMetrics(
        series, MetricsSettings(), latency_budget_seconds=1, clock=lambda: 2000.0
    )
    ingest.handlers[FramesSent](FramesSent({"cam": 1}, [0.1]))
    temporal.handlers[BatchAdvanced](BatchAdvanced(["cam"], 1, 1, [0.1], [0.1], 0.1, 0.1))
    seen = values(registry)
    assert seen["streamer_stream_last_frame_timestamp_seconds", "cam"] == 1000
    assert seen["streamer_stream_last_commit_timestamp_seconds", "cam"] == 2000


def test_events_are_held_against_the_budget():
    quick, slow = (make_event(n) for n in range(2))
    slow = changed(slow, pipeline_seconds=0.0701)
    broken = changed(quick, pipeline_seconds=math.nan)
    at_it = changed(quick, pipeline_seconds=0.07)
    said = [EventCommitted(event) for event in (quick, slow, broken, at_it)]
    seen = told(Role.TEMPORAL, *said, latency_budget_seconds=0.07)
    assert seen["streamer_latency_budget_seconds",] == 0.07
    assert seen["streamer_events_on_time_total",] == 2
    assert seen["streamer_events_late_total",] == 2
    # The budget is a bucket, so the same can be read off the histogram.
    assert seen["streamer_event_latency_seconds_bucket", "0.07"] == 2


def test_a_phase_is_one_hot_and_only_confirmed_ones_count():
    enter = make_event(0, type=EventType.PHASE_TRANSITION)
    observer = PrometheusObserver(Role.TEMPORAL)

    def phases():
        seen = values(observer.registry)
        return {key[1]: value for key, value in seen.items() if key[0] == "streamer_stream_phase"}

    observer.observe(EventCommitted(enter))
    assert phases() == {"grasp": 1}
    observer.observe(EventCommitted(changed(enter, label="lift", status=Status.PROVISIONAL)))
    observer.observe(EventCommitted(changed(enter, label="lift", status=Status.RETRACTED)))
    assert phases() == {"grasp": 1}
    observer.observe(EventCommitted(changed(enter, label="lift")))
    assert phases() == {"lift": 1}
    observer.observe(EventCommitted(changed(enter, label=None)))
    assert phases() == {}
    observer.observe(StreamTakenUp("cam", "grasp"))
    observer.observe(StateReset("cam", "state"))
    assert phases() == {}


def test_an_action_counts_once_when_it_is_confirmed():
    start = make_event(0, type=EventType.ACTION_START)
    provisional = changed(start, status=Status.PROVISIONAL)
    segment = msgspec.structs.replace(start.data.segment, revision=1)
    update = changed(make_event(1, type=EventType.ACTION_UPDATE), segment=segment)
    end = make_event(2, type=EventType.ACTION_END)
    late = msgspec.structs.replace(segment, revision=2)
    again = changed(make_event(3, type=EventType.ACTION_UPDATE), segment=late)
    seen = told(Role.TEMPORAL, *map(EventCommitted, (provisional, update, again, end)))
    assert seen["streamer_actions_total", "carry"] == 1


def test_gaps_count_by_reason():
    said = make_event(0)
    data = GapData(
        **{name: getattr(said.data, name) for name in (
            "frame", "timing", "latency", "pipeline_seconds", "model_id", "encoder_id"
        )},
        missing_from_seq=1, missing_frames=2, seconds=0.3, policy=GapPolicy.HOLD,
        reason=GapReason.DROPPED,
    )  # fmt: skip
    gap = msgspec.structs.replace(said, type=EventType.STREAM_GAP, data=data)
    seen = told(Role.TEMPORAL, EventCommitted(gap))
    assert seen["streamer_gaps_total", "dropped"] == 1
    assert seen["streamer_gaps_total", "poison"] == 0


def test_a_traced_event_leaves_an_exemplar():
    observer = PrometheusObserver(Role.TEMPORAL)
    observer.observe(EventCommitted(make_event(0), trace_id="0af7651916cd43dd8448eb211c80319c"))
    text = openmetrics(observer.registry).decode()
    assert '# {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.005' in text


def test_a_stream_that_was_handed_over_is_not_counted_twice():
    before, after = (PrometheusObserver(Role.TEMPORAL) for _ in range(2))
    before.observe(StreamTakenUp("cam"))
    before.observe(EventCommitted(make_event(0, type=EventType.PHASE_TRANSITION)))
    before.observe(BatchAdvanced(["cam"], 1, 1, [0.1], [0.1], 0.1, 0.1))
    before.observe(StreamReleased("cam"))
    after.observe(StreamTakenUp("cam", "grasp"))
    states = [
        {
            key
            for key in values(one.registry)
            if "cam" in key and not key[0].endswith(("_total", "_created"))
        }
        for one in (before, after)
    ]
    assert states == [set(), {("streamer_stream_phase", "grasp", "cam")}]


def test_a_removed_stream_is_in_no_state():
    live = StatusChanged(note(status=StreamStatus.LIVE))
    late = StatusChanged(note(status=StreamStatus.ENDED))
    seen = told(Role.INGEST, StreamTakenUp("cam"), live, StreamReleased("cam"), late)
    assert seen["streamer_streams", "live"] == 0
    assert seen["streamer_streams", "ended"] == 0
    assert ("streamer_stream_up", "cam") not in seen


@pytest.mark.parametrize(
    "record",
    [
        SimpleNamespace(what="of another program"),
        FramesDropped("cam", DropReason.LATE, -3),
        FramesSent({"cam": -1}, [math.nan, -1.0, math.inf]),
        FramesSent({'quote"back\\slash\nline': 1}, []),
        FramesSent({"": 1}, []),
        BatchEncoded([], math.nan, math.inf),
        BatchAdvanced([], -1, 0, [], [], math.nan, -1.0),
        FeaturesPublished("cam", -2),
        InputLag(math.nan, math.nan, math.nan),
        FramesWaiting(math.nan, math.nan),
        StreamReleased("never seen"),
        StreamTakenUp("cam", ""),
        CommitRefused("ä" * 1000, "stale"),
        EventCommitted(changed(make_event(0), pipeline_seconds=math.inf)),
        EventCommitted(make_event(0), trace_id="x" * 1000),
        EventCommitted(make_event(0), trace_id=""),
    ],
    ids=lambda record: type(record).__name__,
)
def test_nothing_that_is_observed_raises_or_spoils_the_scrape(record):
    observer = PrometheusObserver()
    observer.observe(record)
    observer.observe(FeaturesPublished("good", 1))
    assert values(observer.registry)["streamer_frames_total", "encoded", "good"] == 1
    assert openmetrics(observer.registry).endswith(b"# EOF\n")


def test_buckets_are_those_of_the_settings():
    settings = MetricsSettings(stage_buckets=(0.5, 1), batch_buckets=(3,), delay_buckets=(7,))
    observer = PrometheusObserver(None, settings, latency_budget_seconds=0.75)
    observer.observe(BatchEncoded([0.1], 0.1, 0.1))
    bounds = {
        key[0].removesuffix("_bucket"): set()
        for key in values(observer.registry)
        if key[0].endswith("_bucket")
    }
    for key in values(observer.registry):
        if key[0].endswith("_bucket"):
            bounds[key[0].removesuffix("_bucket")].add(key[1])
    assert bounds == {
        "streamer_stage_seconds": {"0.5", "1.0", "+Inf"},
        "streamer_batch_size": {"3.0", "+Inf"},
        "streamer_decision_delay_seconds": {"7.0", "+Inf"},
        "streamer_event_latency_seconds": {"0.5", "0.75", "1.0", "+Inf"},
        "streamer_frame_age_seconds": {"0.5", "0.75", "1.0", "+Inf"},
    }
