"""Families of the temporal worker's model: which one runs, and how far its input drifts."""

from __future__ import annotations

from streamer.telemetry.families.family import Family, Kind, Role

_ROLES = (Role.TEMPORAL,)
_MODEL = "digest of its bundle"

MODEL_INFO = Family(
    name="streamer_model_info",
    kind=Kind.GAUGE,
    meaning="1 for the model that runs.",
    roles=_ROLES,
    labels={"model": _MODEL, "name": "its bundle's"},
)
MODEL_LOADS = Family(
    name="streamer_model_loads_total",
    kind=Kind.COUNTER,
    meaning="Models loaded, and models wanted that could not be.",
    roles=_ROLES,
    labels={"outcome": "`loaded`, `failed`"},
)
MODEL_PENDING = Family(
    name="streamer_model_pending",
    kind=Kind.GAUGE,
    meaning="1 while another model is wanted than runs.",
    roles=_ROLES,
)
AWAITING_MODEL = Family(
    name="streamer_streams_awaiting_model",
    kind=Kind.GAUGE,
    meaning="Streams that wait for a model that this worker has not loaded.",
    roles=_ROLES,
)
MAHALANOBIS = Family(
    name="streamer_drift_feature_mahalanobis",
    kind=Kind.GAUGE,
    meaning="Squared Mahalanobis distance of the mean feature from the training's, per dimension.",
    roles=_ROLES,
    labels={"model": _MODEL},
)
FRECHET = Family(
    name="streamer_drift_feature_frechet",
    kind=Kind.GAUGE,
    meaning="Squared Frechet distance of the features from the training's, per dimension.",
    roles=_ROLES,
    labels={"model": _MODEL},
)
PSI = Family(
    name="streamer_drift_prediction_psi",
    kind=Kind.GAUGE,
    meaning="Population stability index of predicted labels against the validation part.",
    roles=_ROLES,
    labels={"model": _MODEL, "labels": "`phases`, `actions`"},
)
ENTROPY = Family(
    name="streamer_drift_prediction_entropy_nats",
    kind=Kind.GAUGE,
    meaning="Mean entropy of a frame's prediction.",
    roles=_ROLES,
    labels={"model": _MODEL, "labels": "`phases`, `actions`"},
)

FAMILIES = (
    MODEL_INFO,
    MODEL_LOADS,
    MODEL_PENDING,
    AWAITING_MODEL,
    MAHALANOBIS,
    FRECHET,
    PSI,
    ENTROPY,
)
