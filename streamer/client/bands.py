"""What a timeline is made of: stretches of time, as they can be drawn."""

from __future__ import annotations

import msgspec

from streamer.core.event import Status  # msgspec reads it


class Band(msgspec.Struct, kw_only=True):
    """A stretch of one label.

    Attributes:
        label: The class; empty for an anomaly.
        start_ns: Capture time of its first frame, UTC nanoseconds.
        end_ns: The same of the frame after it; None while it lasts.
        confidence: 0–1, as last said; None where only its end was seen.
        status: Provisional or confirmed; what is retracted is no band.
        score: Of an anomaly: the highest so far.
        epoch: Of the frame that decided.
        start_pts_seconds: Presentation time of its first frame.
        frame: seq of the frame that decided last.
    """

    label: str
    start_ns: int
    end_ns: int | None
    confidence: float | None
    status: Status
    epoch: int
    start_pts_seconds: float
    frame: int
    score: float | None = None


class GapBand(msgspec.Struct, frozen=True, kw_only=True):
    """Missing video."""

    start_ns: int
    end_ns: int
    missing_frames: int
    reason: str
    policy: str


class StatusBand(msgspec.Struct, kw_only=True):
    """A state of the camera."""

    state: str
    reason: str
    detail: str
    start_ns: int
    end_ns: int | None


class TimelineView(msgspec.Struct, frozen=True, kw_only=True):
    """The bands of a time, oldest first.

    Attributes:
        phases: At most one at a time; one without an end is followed by none.
        actions: Of several labels at a time.
        anomalies: Unusual stretches.
        gaps: Missing video.
        statuses: States of the camera.
        next_sequence: Number of the first event that is not in it.
        last_ns: Capture time of the newest frame that an event told of; 0 before the first.
    """

    phases: list[Band]
    actions: list[Band]
    anomalies: list[Band]
    gaps: list[GapBand]
    statuses: list[StatusBand]
    next_sequence: int
    last_ns: int
