"""Who wants to know what happened.

The stages and workers emit records; observers turn them into metrics or log lines. Logic never
knows about either. Records are in `streamer.telemetry.records`, by who emits them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from streamer.telemetry.records.encoder import (
    BatchEncoded,
    EncoderServed,
    FeaturesPublished,
    FeaturesRefused,
    FeaturesResent,
    FramesWaiting,
    GpuMemory,
)
from streamer.telemetry.records.every import (
    InputRefused,
    LeasesChanged,
    StreamReleased,
    StreamTakenUp,
)
from streamer.telemetry.records.frames import FramesDropped
from streamer.telemetry.records.ingest import (
    ClockOffset,
    FramesRefused,
    FramesSent,
    SnapshotTaken,
    StatusChanged,
    StreamDescribed,
)
from streamer.telemetry.records.model import (
    DriftMeasured,
    ModelPending,
    ModelRefused,
    ModelServed,
    StreamsAwaitingModel,
)
from streamer.telemetry.records.temporal import (
    ActiveStreams,
    BatchAdvanced,
    CommitRefused,
    DeadLettered,
    EventCommitted,
    InputLag,
    StateReset,
)

Record = (
    FramesSent
    | FramesRefused
    | FramesDropped
    | StatusChanged
    | BatchEncoded
    | FeaturesPublished
    | FeaturesRefused
    | FeaturesResent
    | BatchAdvanced
    | CommitRefused
    | StateReset
    | ModelServed
    | ModelPending
    | ModelRefused
    | DriftMeasured
    | StreamsAwaitingModel
    | DeadLettered
    | LeasesChanged
    | EventCommitted
    | InputRefused
    | SnapshotTaken
    | StreamTakenUp
    | StreamReleased
    | StreamDescribed
    | ClockOffset
    | EncoderServed
    | GpuMemory
    | FramesWaiting
    | InputLag
    | ActiveStreams
)


class Observer(Protocol):
    """Wants to know. Called on the hot path, from any thread: must be quick and must not raise."""

    def observe(self, record: Record) -> None:
        """Take note."""
        ...


@dataclass(frozen=True, slots=True)
class Observers:
    """Several observers as one."""

    members: tuple[Observer, ...] = ()

    def observe(self, record: Record) -> None:
        """Pass it on to each."""
        for member in self.members:
            member.observe(record)
