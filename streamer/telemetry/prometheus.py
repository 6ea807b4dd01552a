"""Records → Prometheus metrics. Prefix `streamer_`, base units, `stream` the only camera label.

Every family is declared in `streamer.telemetry.families`; `docs/metrics.md` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from streamer.core.config import (
    BATCH_BUCKETS,
    LATENCY_BUDGET_SECONDS,
    STAGE_BUCKETS,
    MetricsSettings,
)
from streamer.telemetry.families import Role
from streamer.telemetry.prometheus_common import (
    CommonMetrics,
    DropMetrics,
    LeaseMetrics,
    RefusalMetrics,
)
from streamer.telemetry.prometheus_encoder import EncoderMetrics
from streamer.telemetry.prometheus_ingest import IngestMetrics
from streamer.telemetry.prometheus_model import ModelMetrics
from streamer.telemetry.prometheus_temporal import TemporalMetrics
from streamer.telemetry.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.telemetry.observer import Record
    from streamer.telemetry.prometheus_common import Handlers

__all__ = ["BATCH_BUCKETS", "STAGE_BUCKETS", "PrometheusObserver"]


class PrometheusObserver:
    """Keeps the metrics of one worker in a registry of its own. Used by many threads.

    It never raises: a record that it has no use for is passed over, and a count below nothing
    counts nothing.

    Args:
        role: Whose families it registers; None: those of ingest, encoder and temporal, for a
            process that is all three.
        settings: Budget and buckets.
        latency_budget_seconds: What events are held against.

    Attributes:
        registry: To be served.
    """

    def __init__(
        self,
        role: Role | None = None,
        settings: MetricsSettings | None = None,
        *,
        latency_budget_seconds: float = LATENCY_BUDGET_SECONDS,
    ) -> None:
        settings = settings or MetricsSettings()
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        series = Series(self.registry, detail_limit=settings.detail_series)
        self._handlers: dict[type, Callable[..., object]] = {}
        self._add(
            CommonMetrics(series, role=role, latency_budget_seconds=latency_budget_seconds).handlers
        )
        if role is not Role.GATEWAY:
            self._add(RefusalMetrics(series).handlers)
        if role in (None, Role.INGEST, Role.ENCODER):
            self._add(DropMetrics(series).handlers)
        leases = {"streams": Role.INGEST, "partitions": Role.TEMPORAL}
        mine = [what for what, of in leases.items() if role in (None, of)]
        if mine:
            self._add(LeaseMetrics(series, mine).handlers)
        if role in (None, Role.ENCODER):
            self._add(EncoderMetrics(series, settings).handlers)
        if role in (None, Role.INGEST):
            self._add(IngestMetrics(series, settings).handlers)
        if role in (None, Role.TEMPORAL):
            self._add(ModelMetrics(series).handlers)
            temporal = TemporalMetrics(
                series, settings, latency_budget_seconds=latency_budget_seconds
            )
            self._add(temporal.handlers)

    def observe(self, record: Record) -> None:
        """Translate one record."""
        handle = self._handlers.get(type(record))
        if handle is not None:
            handle(record)

    def _add(self, handlers: Handlers) -> None:
        """A role's own handlers come after the common ones, and see to what these do."""
        self._handlers.update(handlers)
