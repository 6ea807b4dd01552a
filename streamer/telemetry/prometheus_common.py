"""What several roles count, and what a translator of records is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.version import VERSION
from streamer.telemetry.families import every
from streamer.telemetry.records.encoder import FeaturesRefused
from streamer.telemetry.records.every import (
    InputRefused,
    LeasesChanged,
    StreamReleased,
    StreamTakenUp,
)
from streamer.telemetry.records.frames import FramesDropped
from streamer.telemetry.records.ingest import FramesRefused
from streamer.telemetry.records.temporal import CommitRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from prometheus_client import Histogram

    from streamer.telemetry.families import Role
    from streamer.telemetry.series import Series

    Handlers = Mapping[type, Callable[[Any], object]]


class CommonMetrics:
    """What every role has."""

    def __init__(self, series: Series, *, role: Role | None, latency_budget_seconds: float) -> None:
        self._series = series
        name = "pipeline" if role is None else role.value
        series.gauge(every.BUILD_INFO).labels(VERSION, name).set(1)
        series.gauge(every.LATENCY_BUDGET).set(latency_budget_seconds)

    @property
    def handlers(self) -> Handlers:
        """By type of record."""
        return {
            StreamTakenUp: lambda r: self._series.hold(r.stream_id),
            StreamReleased: lambda r: self._series.release(r.stream_id),
        }


class DropMetrics:
    """Frames that were dropped: of ingest and encoder."""

    def __init__(self, series: Series) -> None:
        self._dropped = series.stream_counter(every.FRAMES_DROPPED)

    @property
    def handlers(self) -> Handlers:
        """By type of record."""
        return {
            FramesDropped: lambda r: self._dropped.inc(r.stream_id, r.reason.value, count=r.count)
        }


class RefusalMetrics:
    """What was refused: of all but the gateway."""

    def __init__(self, series: Series) -> None:
        self._refused = series.stream_counter(every.REFUSED)

    @property
    def handlers(self) -> Handlers:
        """By type of record."""
        inc = self._refused.inc
        return {
            FramesRefused: lambda r: inc(r.stream_id, "send", r.answer),
            FeaturesRefused: lambda r: inc(r.stream_id, "publish", r.answer),
            CommitRefused: lambda r: inc(r.stream_id, "commit", r.answer),
            InputRefused: lambda r: inc(r.stream_id, "read", r.reason),
        }


class LeaseMetrics:
    """Which shares of the work the worker has: of ingest and temporal."""

    def __init__(self, series: Series, whats: Sequence[str]) -> None:
        self._leases = series.gauge(every.LEASES)
        self._changes = series.counter(every.LEASE_CHANGES)
        # All are there from the start: a rate needs a first value.
        for what in whats:
            for change in ("gained", "lost"):
                self._changes.labels(what, change)

    @property
    def handlers(self) -> Handlers:
        """By type of record."""
        return {LeasesChanged: self._changed}

    def _changed(self, record: LeasesChanged) -> None:
        self._leases.labels(record.what).set(record.held)
        self._changes.labels(record.what, "gained").inc(record.gained)
        self._changes.labels(record.what, "lost").inc(record.lost)


class Stages:
    """Times of stages."""

    def __init__(self, series: Series, *stages: str, buckets: Sequence[float]) -> None:
        family = series.histogram(every.STAGE_SECONDS, buckets)
        # All are there from the start: a rate needs a first value.
        self._of: dict[str, Histogram] = {stage: family.labels(stage) for stage in stages}

    def observe(self, stage: str, values_seconds: Sequence[float]) -> None:
        """So long it took, each time."""
        observe = self._of[stage].observe
        for value in values_seconds:
            observe(value)
