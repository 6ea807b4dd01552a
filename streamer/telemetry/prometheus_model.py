"""Metrics of the temporal model: which one runs, and how far its input is from its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

if TYPE_CHECKING:
    from streamer.telemetry.observer import DriftMeasured, ModelServed


class ModelMetrics:
    """Which model runs, and which is wanted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.info = Gauge(
            "streamer_model_info",
            "1 for the model that runs.",
            ("model", "name"),
            registry=registry,
        )
        self.loads = Counter(
            "streamer_model_loads",
            "Models loaded, and models wanted that could not be.",
            ("outcome",),
            registry=registry,
        )
        self.pending = Gauge(
            "streamer_model_pending",
            "1 while another model is wanted than runs.",
            registry=registry,
        )
        self.awaiting = Gauge(
            "streamer_streams_awaiting_model",
            "Streams that wait for a model that this worker has not loaded.",
            registry=registry,
        )

    def served(self, record: ModelServed) -> None:
        """Another one runs."""
        self.info.clear()
        self.info.labels(record.model_id, record.name).set(1)
        self.loads.labels("loaded").inc()


class DriftMetrics:
    """How far what the model sees and says is from its training. One model at a time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"streamer_drift_{name}", text, ("model", *labels), registry=registry)

        self._mahalanobis = gauge(
            "feature_mahalanobis",
            "Squared Mahalanobis distance of the mean feature from the training's, per dimension.",
        )
        self._frechet = gauge(
            "feature_frechet",
            "Squared Frechet distance of the features from the training's, per dimension.",
        )
        self._psi = gauge(
            "prediction_psi",
            "Population stability index of predicted labels against the validation part.",
            "labels",
        )
        self._entropy = gauge(
            "prediction_entropy_nats", "Mean entropy of a frame's prediction.", "labels"
        )

    def clear(self) -> None:
        """Another model runs."""
        for gauge in (self._mahalanobis, self._frechet, self._psi, self._entropy):
            gauge.clear()

    def measured(self, record: DriftMeasured) -> None:
        """So far it is now."""
        self._mahalanobis.labels(record.model_id).set(record.mahalanobis)
        self._frechet.labels(record.model_id).set(record.frechet)
        for labels, value in record.psi.items():
            self._psi.labels(record.model_id, labels).set(value)
        for labels, value in record.entropy_nats.items():
            self._entropy.labels(record.model_id, labels).set(value)
