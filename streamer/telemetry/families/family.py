"""What a metric family is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prometheus_client import CollectorRegistry

PREFIX = "streamer_"

_UNITS = ("seconds", "bytes", "nats")


class Role(StrEnum):
    """Which worker."""

    INGEST = "ingest"
    ENCODER = "encoder"
    TEMPORAL = "temporal"
    GATEWAY = "gateway"


EVERY_ROLE = tuple(Role)


class Kind(StrEnum):
    """The type, as Prometheus names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Level(StrEnum):
    """What decides how many series a family has."""

    WORKER = "worker"
    """Not the number of streams."""
    CORE = "core"
    """One series per stream. A role has at most three such families."""
    DETAIL = "detail"
    """Several per stream, within the budget `metrics.detail_series` that all of them share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric family.

    Attributes:
        name: As it is queried, with `_total` for a counter.
        kind: Its type.
        meaning: One sentence or two.
        roles: Who has it.
        labels: By label, in order, what its values are.
        level: What decides how many series it has.
    """

    name: str
    kind: Kind
    meaning: str
    roles: tuple[Role, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    level: Level = Level.WORKER

    @property
    def unit(self) -> str:
        """The base unit, from the name; empty for a count or a ratio."""
        words = self.name.removesuffix("_total").split("_")
        return next((unit for unit in _UNITS if words[-1] == unit), "")

    @property
    def label_names(self) -> tuple[str, ...]:
        """In order."""
        return tuple(self.labels)

    def counter(self, registry: CollectorRegistry) -> Counter:
        """Register it."""
        assert self.kind is Kind.COUNTER
        return Counter(self.name, self.meaning, self.label_names, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """Register it."""
        assert self.kind is Kind.GAUGE
        return Gauge(self.name, self.meaning, self.label_names, registry=registry)

    def histogram(self, registry: CollectorRegistry, buckets: Sequence[float]) -> Histogram:
        """Register it."""
        assert self.kind is Kind.HISTOGRAM
        return Histogram(
            self.name, self.meaning, self.label_names, buckets=buckets, registry=registry
        )
