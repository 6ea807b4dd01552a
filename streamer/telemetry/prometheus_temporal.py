"""Records of the temporal worker → metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streamer.core.event import (
    ActionData,
    AnomalyData,
    EventType,
    GapData,
    GapReason,
    PhaseData,
    Status,
)
from streamer.telemetry.families import temporal
from streamer.telemetry.prometheus_common import Stages
from streamer.telemetry.records.every import StreamTakenUp
from streamer.telemetry.records.temporal import (
    ActiveStreams,
    BatchAdvanced,
    DeadLettered,
    EventCommitted,
    InputLag,
    StateReset,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.core.config import MetricsSettings
    from streamer.telemetry.prometheus_common import Handlers
    from streamer.telemetry.series import Series

MAX_TRACE_ID = 64
"""Characters. The library raises for an exemplar of more than 128 with its label's name."""


class TemporalMetrics:
    """What a temporal worker counts, but for its model's drift.

    Args:
        series: Where.
        settings: Buckets.
        latency_budget_seconds: What events are held against.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        series: Series,
        settings: MetricsSettings,
        *,
        latency_budget_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._series = series
        self._budget_seconds = latency_budget_seconds
        self._clock = clock
        self._phase = series.stream_gauge(temporal.STREAM_PHASE)
        self._last_commit = series.stream_gauge(temporal.LAST_COMMIT)
        self._stream_events = series.stream_counter(temporal.STREAM_EVENTS)
        self._resets = series.stream_counter(temporal.RESETS)
        self._stream_dead = series.stream_counter(temporal.STREAM_DEAD_LETTERS)
        self._dead = series.counter(temporal.DEAD_LETTERS)
        events, gaps = series.counter(temporal.EVENTS), series.counter(temporal.GAPS)
        # All are there from the start: a rate needs a first value.
        for reason in temporal.DEAD_LETTER_REASONS:
            self._dead.labels(reason.value)
        self._events = {kind: events.labels(kind.value) for kind in EventType}
        self._gaps = {reason: gaps.labels(reason.value) for reason in GapReason}
        self._actions = series.counter(temporal.ACTIONS)
        self._late = series.counter(temporal.EVENTS_LATE)
        self._on_time = series.counter(temporal.EVENTS_ON_TIME)
        buckets = settings.stage_buckets
        around_budget = with_bucket(buckets, latency_budget_seconds)
        self._latency = series.histogram(temporal.EVENT_LATENCY, around_budget)
        self._age = series.histogram(temporal.FRAME_AGE, around_budget)
        self._delay = series.histogram(temporal.DECISION_DELAY, settings.delay_buckets)
        self._stages = Stages(series, "feature_wait", "temporal", "commit", buckets=buckets)
        self._lag = series.gauge(temporal.INPUT_LAG)
        self._oldest = series.gauge(temporal.INPUT_OLDEST)
        self._late_streams = series.gauge(temporal.INPUT_LAG_STREAMS)
        self._active = series.gauge(temporal.ACTIVE_STREAMS)
        self._steps = series.counter(temporal.MODEL_STEPS)
        self._commits = series.counter(temporal.COMMITS)

    @property
    def handlers(self) -> Handlers:
        """By type of record."""
        return {
            BatchAdvanced: self._advanced,
            EventCommitted: self._committed,
            StateReset: self._reset,
            DeadLettered: self._dead_lettered,
            StreamTakenUp: self._taken_up,
            ActiveStreams: lambda r: self._active.set(r.count),
            InputLag: self._measured,
        }

    def _advanced(self, record: BatchAdvanced) -> None:
        now = self._clock()
        for stream_id in record.committed:
            self._last_commit.set(stream_id, value=now)
        self._commits.inc(len(record.committed))
        self._steps.inc(max(0, record.steps))
        self._stages.observe("feature_wait", record.feature_wait_seconds)
        self._stages.observe("temporal", [record.temporal_seconds])
        self._stages.observe("commit", [record.commit_seconds])
        for age in record.frame_age_seconds:
            self._age.observe(age)

    def _committed(self, record: EventCommitted) -> None:
        event, data = record.event, record.event.data
        self._stream_events.inc(event.stream_id)
        self._events[event.type].inc()
        # Not "late if above": NaN is not on time.
        on_time = data.pipeline_seconds <= self._budget_seconds
        (self._on_time if on_time else self._late).inc()
        trace_id = record.trace_id
        traced = trace_id is not None and len(trace_id) <= MAX_TRACE_ID
        exemplar = {"trace_id": str(trace_id)} if traced else None
        self._latency.observe(data.pipeline_seconds, exemplar=exemplar)
        if isinstance(data, ActionData | PhaseData | AnomalyData):
            self._delay.observe(data.decision_delay_seconds)
        if isinstance(data, PhaseData) and data.status is Status.CONFIRMED:
            self._set_phase(event.stream_id, data.label)
        elif isinstance(data, GapData):
            self._gaps[data.reason].inc()
        elif isinstance(data, ActionData) and _confirms(event.type, data):
            self._actions.labels(data.label).inc()

    def _reset(self, record: StateReset) -> None:
        self._resets.inc(record.stream_id, record.reason)
        self._phase.clear(record.stream_id)

    def _dead_lettered(self, record: DeadLettered) -> None:
        self._dead.labels(record.reason).inc()
        self._stream_dead.inc(record.stream_id, record.reason)

    def _taken_up(self, record: StreamTakenUp) -> None:
        self._series.hold(record.stream_id)
        self._stream_events.inc(record.stream_id, count=0)
        self._set_phase(record.stream_id, record.phase)

    def _set_phase(self, stream_id: str, phase: str | None) -> None:
        if phase is None:
            self._phase.clear(stream_id)
        else:
            self._phase.set(stream_id, phase)

    def _measured(self, record: InputLag) -> None:
        self._lag.set(record.frames)
        self._oldest.set(record.oldest_seconds)
        self._late_streams.set(record.late_streams)


def _confirms(kind: EventType, data: ActionData) -> bool:
    """Whether this event is the first to say that the action is sure; its end is another matter."""
    sure = data.status is Status.CONFIRMED and data.segment.revision <= 1
    return sure and kind is not EventType.ACTION_END


def with_bucket(buckets: Sequence[float], bound: float) -> tuple[float, ...]:
    """The buckets, with this bound among them."""
    return tuple(sorted({*buckets, bound}))
