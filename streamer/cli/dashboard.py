"""The live table of `streamer run`: what each stream is doing, from its events and metrics."""

from __future__ import annotations

import http.client
import statistics
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families
from rich import box
from rich.table import Table
from rich.text import Text

from streamer.core.event import ActionData, AnomalyData, EventType, PhaseData, Status, StatusData

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from streamer.core.event import Event
    from streamer.runtime.supervisor import Worker

LATENCIES_KEPT = 200
ANOMALY = "▲ anomaly"

_STYLES = {"live": "green", "connecting": "yellow", "reconnecting": "yellow", "failed": "red"}


@dataclass(slots=True)
class StreamView:
    """What is known of one stream.

    Attributes:
        state: Its camera's.
        reason: Why, for one that is not well, in a word.
        detail: The same in a line.
        phase: Its current phase, with its confidence.
        actions: Open actions, and `ANOMALY` while something is unusual.
        latencies: `pipeline_seconds` of the last events about frames.
        frames: Encoded so far.
        drops: So far.
        fps: Frames encoded per second, lately.
    """

    state: str = "starting"
    reason: str = ""
    detail: str = ""
    phase: str = ""
    confidence: float | None = None
    actions: dict[str, float] = field(default_factory=dict)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    frames: int = 0
    drops: int = 0
    fps: float | None = None


class Dashboard:
    """Collects, and draws a table."""

    def __init__(self, stream_ids: Iterable[str]) -> None:
        self.streams = {stream_id: StreamView() for stream_id in stream_ids}
        self._read_at: float | None = None

    def take(self, event: Event) -> None:
        """Take note of an event."""
        view = self.streams.setdefault(event.stream_id, StreamView())
        data = event.data
        if isinstance(data, StatusData):
            view.state = data.state.value
            view.reason, view.detail = data.reason, data.detail
            return
        view.latencies.append(data.pipeline_seconds)
        if isinstance(data, PhaseData) and data.status is not Status.RETRACTED:
            view.phase, view.confidence = data.label or "", data.confidence
        elif isinstance(data, PhaseData):
            view.phase, view.confidence = "", None
        elif isinstance(data, ActionData):
            if event.type is EventType.ACTION_END:
                view.actions.pop(data.label, None)
            else:
                view.actions[data.label] = data.confidence
        elif isinstance(data, AnomalyData):
            if event.type is EventType.ANOMALY_END:
                view.actions.pop(ANOMALY, None)
            else:
                view.actions[ANOMALY] = data.confidence

    def scrape(self, workers: Sequence[Worker]) -> None:
        """Read frames and drops from the workers' metrics."""
        encoded: defaultdict[str, int] = defaultdict(int)
        dropped: defaultdict[str, int] = defaultdict(int)
        for worker in workers:
            if worker.ready is None:
                continue
            for family in text_string_to_metric_families(read_metrics(worker.ready.metrics_port)):
                for sample in family.samples:
                    stream_id = sample.labels.get("stream", "")
                    if sample.name == "streamer_frames_total":
                        if sample.labels["step"] == "encoded":
                            encoded[stream_id] += int(sample.value)
                    elif sample.name == "streamer_frames_dropped_total":
                        dropped[stream_id] += int(sample.value)
        now = time.monotonic()
        for stream_id, view in self.streams.items():
            if self._read_at is not None:
                view.fps = max(0, encoded[stream_id] - view.frames) / (now - self._read_at)
            view.frames, view.drops = encoded[stream_id], dropped[stream_id]
        self._read_at = now

    def table(self) -> Table:
        """The table."""
        return streams_table(self.streams)


def streams_table(streams: Mapping[str, StreamView]) -> Table:
    """A row per stream. Where the terminal is narrow, states and actions take several lines."""
    table = Table(expand=False, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stream", no_wrap=True)
    table.add_column("state", overflow="fold")
    table.add_column("phase", no_wrap=True)
    for name in ("conf", "fps", "drops", "p50", "p95"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("actions", overflow="fold")
    for stream_id, view in streams.items():
        state = f"{view.state}: {view.reason}" if view.reason else view.state
        table.add_row(
            Text(stream_id),
            Text(state, style=_STYLES.get(view.state, "")),
            Text(view.phase, style="bold"),
            "" if view.confidence is None else f"{view.confidence:.2f}",
            "" if view.fps is None else f"{view.fps:.1f}",
            str(view.drops),
            _milliseconds(view.latencies, 0.50),
            _milliseconds(view.latencies, 0.95),
            Text(", ".join(view.actions), style="red" if ANOMALY in view.actions else ""),
        )
    return table


def read_metrics(port: int) -> str:
    """A worker's metrics page; empty while it is being restarted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _milliseconds(values: Sequence[float], quantile: float) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0] * 1e3:.0f} ms"
    cut = statistics.quantiles(values, n=100, method="inclusive")[round(quantile * 100) - 1]
    return f"{cut * 1e3:.0f} ms"
