"""Records → Prometheus metrics. Prefix `streamer_`, base units, `stream` the only camera label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from streamer.core.event import PhaseData
from streamer.core.feature import StreamStatus
from streamer.telemetry.observer import (
    ActiveStreams,
    BatchAdvanced,
    BatchEncoded,
    CommitRefused,
    DeadLettered,
    DriftMeasured,
    EventCommitted,
    FeaturesPublished,
    FeaturesRefused,
    FeaturesResent,
    FramesDropped,
    FramesRefused,
    FramesSent,
    InputRefused,
    LeasesChanged,
    ModelPending,
    ModelRefused,
    ModelServed,
    SnapshotTaken,
    StateReset,
    StatusChanged,
    StreamsAwaitingModel,
)
from streamer.telemetry.prometheus_model import DriftMetrics, ModelMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.telemetry.observer import Record

STAGE_BUCKETS = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.06, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip
"""Seconds. From one step on an idle machine to a camera that has fallen behind."""

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)


class _StreamMetrics:
    """Counts and states, by stream."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ("stream", *labels), registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, ("stream", *labels), registry=registry)

        self.frames = counter("streamer_frames", "Analysed frames by step.", "step")
        self.dropped = counter("streamer_frames_dropped", "Analysed frames dropped.", "reason")
        self.up = gauge("streamer_stream_up", "1 while the camera delivers frames.")
        self.changes = counter(
            "streamer_stream_status_changes", "Changes of a camera's state.", "state"
        )
        self.refused = counter(
            "streamer_refused", "Operations the log or the store refused.", "operation", "answer"
        )
        self.resent = counter(
            "streamer_features_resent", "Input log entries sent again after Redis had lost them."
        )
        self.resets = counter(
            "streamer_state_resets", "States begun anew by a change of model or damage.", "reason"
        )
        self.dead = counter(
            "streamer_dead_letters", "Entries and states refused for good.", "reason"
        )
        self.snapshots = counter(
            "streamer_snapshots", "Deciding frames, by whether they were still there.", "outcome"
        )
        self.events = counter("streamer_events", "Events committed.", "type")
        self.phase = gauge(
            "streamer_stream_phase",
            "1 for the stream's current phase, 0 for the others seen.",
            "phase",
        )


class _WorkerMetrics:
    """What the worker has of the work."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.leases = Gauge(
            "streamer_leases", "Leases this worker holds.", ("what",), registry=registry
        )
        self.lease_changes = Counter(
            "streamer_lease_changes",
            "Leases taken and lost.",
            ("what", "change"),
            registry=registry,
        )
        self.active = Gauge(
            "streamer_active_streams", "Streams this worker holds.", registry=registry
        )


class _Distributions:
    """How long things take and how large batches are, over all streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stage = Histogram(
            "streamer_stage_seconds",
            "Time of a frame (or, for publish, a batch) in a stage.",
            ("stage",),
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.age = Histogram(
            "streamer_frame_age_seconds",
            "From receipt of a frame's packet to the commit of its outcome.",
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.latency = Histogram(
            "streamer_event_latency_seconds",
            "From receipt of the deciding frame to the commit of the event.",
            buckets=STAGE_BUCKETS,
            registry=registry,
        )
        self.batch = Histogram(
            "streamer_batch_size",
            "Frames in a batch of this worker.",
            buckets=BATCH_BUCKETS,
            registry=registry,
        )

    def observe_stage(self, stage: str, values_seconds: Sequence[float]) -> None:
        """So long it took, each time."""
        histogram = self._stage.labels(stage)
        for value in values_seconds:
            histogram.observe(value)


class PrometheusObserver:
    """Keeps the metrics of one worker in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._streams = _StreamMetrics(self.registry)
        self._worker = _WorkerMetrics(self.registry)
        self._models = ModelMetrics(self.registry)
        self._drift = DriftMetrics(self.registry)
        self._distributions = _Distributions(self.registry)
        self._phase_of: dict[str, str] = {}
        self._handlers: dict[type, Callable[..., None]] = {
            FramesSent: self._sent,
            FramesDropped: self._drop,
            StatusChanged: self._status,
            BatchEncoded: self._encoded,
            FeaturesPublished: self._published,
            FramesRefused: lambda r: self._refuse(r.stream_id, "send", r.answer),
            FeaturesRefused: lambda r: self._refuse(r.stream_id, "publish", r.answer),
            FeaturesResent: lambda r: self._streams.resent.labels(r.stream_id).inc(r.entries),
            StateReset: lambda r: self._streams.resets.labels(r.stream_id, r.reason).inc(),
            DeadLettered: lambda r: self._streams.dead.labels(r.stream_id, r.reason).inc(),
            LeasesChanged: self._leases_changed,
            CommitRefused: lambda r: self._refuse(r.stream_id, "commit", r.answer),
            SnapshotTaken: self._snapshot,
            InputRefused: lambda r: self._refuse(r.stream_id, "read", r.reason),
            BatchAdvanced: self._advanced,
            EventCommitted: self._event,
            ModelServed: self._served,
            DriftMeasured: self._drift.measured,
            ModelPending: lambda r: self._models.pending.set(bool(r.model_id)),
            ModelRefused: lambda _: self._models.loads.labels("failed").inc(),
            StreamsAwaitingModel: lambda r: self._models.awaiting.set(len(r.stream_ids)),
            ActiveStreams: lambda r: self._worker.active.set(r.count),
        }

    def observe(self, record: Record) -> None:
        """Translate one record."""
        self._handlers[type(record)](record)

    def _served(self, record: ModelServed) -> None:
        self._models.served(record)
        self._drift.clear()

    def _sent(self, record: FramesSent) -> None:
        for stream_id, count in record.frames_by_stream.items():
            self._streams.frames.labels(stream_id, "analysed").inc(count)
        self._distributions.observe_stage("decode", record.decode_seconds)

    def _drop(self, record: FramesDropped) -> None:
        self._streams.dropped.labels(record.stream_id, record.reason.value).inc(record.count)

    def _status(self, record: StatusChanged) -> None:
        note = record.note
        self._streams.changes.labels(note.stream_id, note.status.value).inc()
        self._streams.up.labels(note.stream_id).set(note.status is StreamStatus.LIVE)

    def _encoded(self, record: BatchEncoded) -> None:
        frames = len(record.frame_wait_seconds)
        self._distributions.batch.observe(frames)
        self._distributions.observe_stage("frame_wait", record.frame_wait_seconds)
        self._distributions.observe_stage("encode", [record.encode_seconds] * frames)
        self._distributions.observe_stage("publish", [record.publish_seconds])

    def _published(self, record: FeaturesPublished) -> None:
        self._streams.frames.labels(record.stream_id, "encoded").inc(record.frames)

    def _snapshot(self, record: SnapshotTaken) -> None:
        outcome = "kept" if record.kept else "missed"
        self._streams.snapshots.labels(record.stream_id, outcome).inc()

    def _refuse(self, stream_id: str, operation: str, answer: str) -> None:
        self._streams.refused.labels(stream_id, operation, answer).inc()

    def _leases_changed(self, record: LeasesChanged) -> None:
        self._worker.leases.labels(record.what).set(record.held)
        self._worker.lease_changes.labels(record.what, "gained").inc(record.gained)
        self._worker.lease_changes.labels(record.what, "lost").inc(record.lost)

    def _advanced(self, record: BatchAdvanced) -> None:
        self._distributions.batch.observe(record.frames)
        self._distributions.observe_stage("feature_wait", record.feature_wait_seconds)
        self._distributions.observe_stage("temporal", [record.temporal_seconds])
        self._distributions.observe_stage("commit", [record.commit_seconds])
        for age in record.frame_age_seconds:
            self._distributions.age.observe(age)

    def _event(self, record: EventCommitted) -> None:
        event = record.event
        stream_id = event.stream_id
        self._streams.events.labels(stream_id, event.type.value).inc()
        exemplar = {"trace_id": record.trace_id} if record.trace_id else None
        self._distributions.latency.observe(event.data.pipeline_seconds, exemplar)
        if isinstance(event.data, PhaseData):
            before = self._phase_of.pop(stream_id, None)
            if before is not None:
                self._streams.phase.labels(stream_id, before).set(0)
            if event.data.label is not None:
                self._streams.phase.labels(stream_id, event.data.label).set(1)
                self._phase_of[stream_id] = event.data.label
