"""Records of the encoder worker → metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.telemetry.families import encoder, every
from streamer.telemetry.prometheus_common import Stages
from streamer.telemetry.records.encoder import (
    BatchEncoded,
    EncoderServed,
    FeaturesPublished,
    FeaturesResent,
    FramesWaiting,
    GpuMemory,
)

if TYPE_CHECKING:
    from streamer.core.config import MetricsSettings
    from streamer.telemetry.prometheus_common import Handlers
    from streamer.telemetry.series import Series


class EncoderMetrics:
    """What an encoder worker counts.

    Args:
        series: Where.
        settings: Buckets.
    """

    def __init__(self, series: Series, settings: MetricsSettings) -> None:
        self._frames = series.stream_counter(every.FRAMES)
        self._resent = series.stream_counter(encoder.RESENT)
        self._batch = series.histogram(encoder.BATCH_SIZE, settings.batch_buckets)
        self._waiting = series.gauge(encoder.FRAMES_WAITING)
        self._oldest = series.gauge(encoder.FRAMES_OLDEST)
        self._info = series.gauge(encoder.ENCODER_INFO)
        self._memory = series.gauge(encoder.GPU_MEMORY)
        self._stages = Stages(
            series, "frame_wait", "encode", "publish", buckets=settings.stage_buckets
        )

    @property
    def handlers(self) -> Handlers:
        """By type of record."""
        return {
            BatchEncoded: self._encoded,
            FeaturesPublished: lambda r: self._frames.inc(r.stream_id, "encoded", count=r.frames),
            FeaturesResent: lambda r: self._resent.inc(r.stream_id, count=r.entries),
            FramesWaiting: self._measured,
            EncoderServed: lambda r: self._info.labels(r.name, r.backend, r.device).set(1),
            GpuMemory: self._allocated,
        }

    def _encoded(self, record: BatchEncoded) -> None:
        frames = len(record.frame_wait_seconds)
        self._batch.observe(frames)
        self._stages.observe("frame_wait", record.frame_wait_seconds)
        self._stages.observe("encode", [record.encode_seconds] * frames)
        self._stages.observe("publish", [record.publish_seconds])

    def _measured(self, record: FramesWaiting) -> None:
        self._waiting.set(record.entries)
        self._oldest.set(record.oldest_seconds)

    def _allocated(self, record: GpuMemory) -> None:
        for kind, num_bytes in record.bytes_by_kind.items():
            self._memory.labels(record.device, kind).set(num_bytes)
