"""Records of a temporal worker about its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ModelServed:
    """The temporal worker runs this model from now on. `actions` are the labels it knows."""

    model_id: str
    name: str
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelPending:
    """Another model is wanted than runs; an empty id: none is any more."""

    model_id: str


@dataclass(frozen=True, slots=True)
class ModelRefused:
    """A model that is wanted could not be loaded: the worker keeps the one it has."""

    model_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class StreamsAwaitingModel:
    """Streams in this worker's care that wait for a model that it has not loaded."""

    stream_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftMeasured:
    """How far what the model sees is from its training; see `streamer.stages.drift_watch.Drift`."""

    model_id: str
    mahalanobis: float
    frechet: float
    psi: Mapping[str, float]
    entropy_nats: Mapping[str, float]
