"""Records of the ingest worker → metrics."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from streamer.core.feature import StreamStatus
from streamer.telemetry.families import every, ingest
from streamer.telemetry.prometheus_common import Stages
from streamer.telemetry.records.every import StreamReleased
from streamer.telemetry.records.ingest import (
    ClockOffset,
    FramesSent,
    SnapshotTaken,
    StatusChanged,
    StreamDescribed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.core.config import MetricsSettings
    from streamer.telemetry.prometheus_common import Handlers
    from streamer.telemetry.series import Series

MEANT_TO_BE_OFF = (StreamStatus.PAUSED, StreamStatus.ENDED)
"""States of a stream that is neither up nor down."""


class IngestMetrics:
    """What an ingest worker counts.

    Args:
        series: Where.
        settings: Buckets.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        series: Series,
        settings: MetricsSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._series = series
        self._clock = clock
        self._frames = series.stream_counter(every.FRAMES)
        self._up = series.stream_gauge(ingest.STREAM_UP)
        self._last_frame = series.stream_gauge(ingest.LAST_FRAME)
        self._info = series.stream_gauge(ingest.STREAM_INFO)
        self._reconnects = series.stream_counter(ingest.RECONNECTS)
        self._offset = series.stream_gauge(ingest.CLOCK_OFFSET)
        self._status = series.stream_gauge(ingest.STREAM_STATUS)
        self._changes = series.stream_counter(ingest.STATUS_CHANGES)
        self._snapshots = series.stream_counter(ingest.SNAPSHOTS)
        streams = series.gauge(ingest.STREAMS)
        self._streams = {status: streams.labels(status.value) for status in StreamStatus}
        self._stages = Stages(series, "decode", buckets=settings.stage_buckets)
        self._status_of: dict[str, StreamStatus] = {}
        self._lock = threading.Lock()

    @property
    def handlers(self) -> Handlers:
        """By type of record."""
        return {
            FramesSent: self._sent,
            StatusChanged: self._changed,
            StreamReleased: self._released,
            StreamDescribed: lambda r: self._info.set(
                r.stream_id, r.kind, str(r.width), str(r.height), r.clock
            ),
            ClockOffset: lambda r: self._offset.set(r.stream_id, value=r.seconds),
            SnapshotTaken: lambda r: self._snapshots.inc(
                r.stream_id, "kept" if r.kept else "missed"
            ),
        }

    def _sent(self, record: FramesSent) -> None:
        now = self._clock()
        for stream_id, count in record.frames_by_stream.items():
            self._frames.inc(stream_id, "analysed", count=count)
            self._last_frame.set(stream_id, value=now)
        self._stages.observe("decode", record.decode_seconds)

    def _changed(self, record: StatusChanged) -> None:
        stream_id, status = record.note.stream_id, record.note.status
        self._changes.inc(stream_id, status.value)
        # Of the first state on: a rate needs a first value.
        self._reconnects.inc(stream_id, count=status is StreamStatus.RECONNECTING)
        if self._series.is_released(stream_id):
            return
        if status in MEANT_TO_BE_OFF:
            self._up.clear(stream_id)
        else:
            self._up.set(stream_id, value=status is StreamStatus.LIVE)
        self._status.set(stream_id, status.value)
        with self._lock:
            self._status_of[stream_id] = status
            self._count_streams()

    def _released(self, record: StreamReleased) -> None:
        self._series.release(record.stream_id)
        with self._lock:
            self._status_of.pop(record.stream_id, None)
            self._count_streams()

    def _count_streams(self) -> None:
        counts = Counter(self._status_of.values())
        for status, gauge in self._streams.items():
            gauge.set(counts[status])
