"""Series by stream: which streams have their own, within a budget, and for how long."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from streamer.telemetry.families import Level
from streamer.telemetry.families.every import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

    from streamer.telemetry.families import Family

LINGER_SECONDS = 60.0
"""A counter stays so long after its stream has gone: the next scrape is to have its last counts."""

Labels = tuple[str, ...]
Metric = TypeVar("Metric")


class Series:
    """A registry, and what of it belongs to which stream. Used by many threads.

    A stream's core series are made when something is first counted. Detail series share a budget:
    beyond it a counter counts under `stream=""`, so that sums stay right, and a gauge is left out.
    A stream that is released loses its gauges at once, another worker may have it, and its counters
    after `LINGER_SECONDS`.

    Args:
        registry: Where families are registered.
        detail_limit: Most detail series.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        detail_limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry
        self._detail_limit = detail_limit
        self._clock = clock
        self._lock = threading.Lock()
        self._plain_counters: dict[str, Counter] = {}
        self._plain_gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._counters: dict[str, StreamCounter] = {}
        self._gauges: dict[str, StreamGauge] = {}
        self._num_details = 0
        self._left_out: defaultdict[str, set[Labels]] = defaultdict(set)
        self._released: dict[str, float] = {}
        # The first of all: a scrape is to find what is over already gone.
        LEFT_OUT.gauge(registry).set_function(self._purge_and_count)

    def counter(self, family: Family) -> Counter:
        """A family that is not by stream."""
        return _made(self._plain_counters, family, lambda: family.counter(self.registry))

    def gauge(self, family: Family) -> Gauge:
        """A family that is not by stream."""
        return _made(self._plain_gauges, family, lambda: family.gauge(self.registry))

    def histogram(self, family: Family, buckets: Sequence[float]) -> Histogram:
        """A family that is not by stream."""
        return _made(self._histograms, family, lambda: family.histogram(self.registry, buckets))

    def stream_counter(self, family: Family) -> StreamCounter:
        """A family whose first label is the stream."""
        return _made(self._counters, family, lambda: StreamCounter(family, self))

    def stream_gauge(self, family: Family) -> StreamGauge:
        """A family whose first label is the stream."""
        return _made(self._gauges, family, lambda: StreamGauge(family, self))

    def hold(self, stream_id: str) -> None:
        """The stream is this worker's, from now on or again."""
        with self._lock:
            self._released.pop(stream_id, None)

    def release(self, stream_id: str) -> None:
        """The stream is no longer this worker's."""
        with self._lock:
            self._released[stream_id] = self._clock() + LINGER_SECONDS
            self._left_out.pop(stream_id, None)
            for gauge in self._gauges.values():
                self._num_details -= gauge.forget(stream_id)
        self.purge()

    def purge(self) -> None:
        """Take the counters away of streams that have been gone for long enough."""
        now = self._clock()
        with self._lock:
            for stream_id in [s for s, until in self._released.items() if until <= now]:
                del self._released[stream_id]
                self._left_out.pop(stream_id, None)
                for counter in self._counters.values():
                    self._num_details -= counter.forget(stream_id)

    def is_released(self, stream_id: str) -> bool:
        """Whether a gauge would say something of a stream that is another's."""
        return stream_id in self._released

    def admits(self, family: Family, stream_id: str, *others: str) -> bool:
        """Whether a new label set gets a series of its own; then it has it. Call it `locked`."""
        if family.level is not Level.DETAIL:
            return True
        left_out, key = self._left_out[stream_id], (family.name, *others)
        if self._num_details >= self._detail_limit:
            left_out.add(key)
            return False
        self._num_details += 1
        left_out.discard(key)
        return True

    def gives_back(self, num_details: int) -> None:
        """So many detail series are gone. Call it `locked`."""
        self._num_details -= num_details

    @property
    def locked(self) -> threading.Lock:
        """To be held while series come and go."""
        return self._lock

    def _purge_and_count(self) -> float:
        self.purge()
        with self._lock:
            return float(sum(map(len, self._left_out.values())))


class StreamCounter:
    """A counter family by stream."""

    def __init__(self, family: Family, series: Series) -> None:
        self._family = family
        self._series = series
        self._metric = family.counter(series.registry)
        self._children: dict[Labels, Counter] = {}
        self._labels_of: defaultdict[str, set[Labels]] = defaultdict(set)

    def inc(self, *labels: str, count: float = 1) -> None:
        """Count. Less than nothing is nothing: whoever tells it must not fall over it."""
        child = self._children.get(labels) or self._find(labels)
        if count > 0:
            child.inc(count)

    def forget(self, stream_id: str) -> int:
        """Remove a stream's series; how many detail series that were. The lock is held."""
        gone = self._labels_of.pop(stream_id, set())
        for labels in gone:
            del self._children[labels]
            self._metric.remove(*labels)
        return len(gone) if self._family.level is Level.DETAIL else 0

    def _find(self, labels: Labels) -> Counter:
        with self._series.locked:
            found = self._children.get(labels)
            if found is not None:
                return found
            if not self._series.admits(self._family, *labels):
                return self._metric.labels("", *labels[1:])
            child = self._children[labels] = self._metric.labels(*labels)
            self._labels_of[labels[0]].add(labels)
            return child


class StreamGauge:
    """A gauge family by stream: at most one label set of a stream at a time."""

    def __init__(self, family: Family, series: Series) -> None:
        self._family = family
        self._series = series
        self._metric = family.gauge(series.registry)
        self._children: dict[Labels, Gauge] = {}
        self._labels_of: dict[str, Labels] = {}

    def set(self, *labels: str, value: float = 1) -> None:
        """Set this label set of the stream; another one that it had goes away."""
        child = self._children.get(labels) or self._find(labels)
        if child is not None:
            child.set(value)

    def clear(self, stream_id: str) -> None:
        """The stream has none any more."""
        with self._series.locked:
            self._series.gives_back(self.forget(stream_id))

    def forget(self, stream_id: str) -> int:
        """Remove a stream's series; how many detail series that were. The lock is held."""
        labels = self._labels_of.pop(stream_id, None)
        if labels is None:
            return 0
        del self._children[labels]
        self._metric.remove(*labels)
        return int(self._family.level is Level.DETAIL)

    def _find(self, labels: Labels) -> Gauge | None:
        stream_id = labels[0]
        with self._series.locked:
            if labels in self._children:
                return self._children[labels]
            if self._series.is_released(stream_id):
                return None
            self._series.gives_back(self.forget(stream_id))
            if not self._series.admits(self._family, stream_id):
                return None
            child = self._children[labels] = self._metric.labels(*labels)
            self._labels_of[stream_id] = labels
            return child


def _made(made: dict[str, Metric], family: Family, make: Callable[[], Metric]) -> Metric:
    """Each family once, also where two roles are in one process."""
    if family.name not in made:
        made[family.name] = make()
    return made[family.name]
