"""Metrics of the temporal model: which one runs, and how far its input is from its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.telemetry.families import model, temporal
from streamer.telemetry.records.model import (
    DriftMeasured,
    ModelPending,
    ModelRefused,
    ModelServed,
    StreamsAwaitingModel,
)

if TYPE_CHECKING:
    from streamer.telemetry.prometheus_common import Handlers
    from streamer.telemetry.series import Series


class ModelMetrics:
    """Which model runs, which is wanted, and the drift of the one that runs."""

    def __init__(self, series: Series) -> None:
        self._info = series.gauge(model.MODEL_INFO)
        loads = series.counter(model.MODEL_LOADS)
        # Both are there from the start: a rate needs a first value.
        self._loaded, self._failed = loads.labels("loaded"), loads.labels("failed")
        self._actions = series.counter(temporal.ACTIONS)
        self._pending = series.gauge(model.MODEL_PENDING)
        self._awaiting = series.gauge(model.AWAITING_MODEL)
        self._mahalanobis = series.gauge(model.MAHALANOBIS)
        self._frechet = series.gauge(model.FRECHET)
        self._psi = series.gauge(model.PSI)
        self._entropy = series.gauge(model.ENTROPY)

    @property
    def handlers(self) -> Handlers:
        """By type of record."""
        return {
            ModelServed: self._served,
            ModelPending: lambda r: self._pending.set(bool(r.model_id)),
            ModelRefused: lambda _: self._failed.inc(),
            StreamsAwaitingModel: lambda r: self._awaiting.set(len(r.stream_ids)),
            DriftMeasured: self._measured,
        }

    def _served(self, record: ModelServed) -> None:
        # One model at a time, in the gauges of drift too.
        for gauge in (self._info, self._mahalanobis, self._frechet, self._psi, self._entropy):
            gauge.clear()
        self._info.labels(record.model_id, record.name).set(1)
        self._loaded.inc()
        for label in record.actions:
            self._actions.labels(label)

    def _measured(self, record: DriftMeasured) -> None:
        self._mahalanobis.labels(record.model_id).set(record.mahalanobis)
        self._frechet.labels(record.model_id).set(record.frechet)
        for labels, value in record.psi.items():
            self._psi.labels(record.model_id, labels).set(value)
        for labels, value in record.entropy_nats.items():
            self._entropy.labels(record.model_id, labels).set(value)
