"""What a decoder says at a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from streamer.core.event import EndReason, EventType, Status

if TYPE_CHECKING:
    from streamer.core.state import OpenSegment

Moment = tuple[int, int, float]
"""A frame in time: (seq, captured at in UTC nanoseconds, presentation time in seconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the decoder says at a frame.

    Attributes:
        type: Which event it becomes.
        label: Class index; None for leaving the last phase.
        segment: The segment, with its revision.
        end: Its last frame, for an end.
        end_reason: Why it ended.
        confidence: Probability of the class.
        status: See `Status`.
        previous: For a transition: the phase left, its last frame, and why.
        decision_delay_seconds: From the boundary to this frame.
    """

    type: EventType
    label: int | None
    segment: OpenSegment
    end: Moment | None = None
    end_reason: EndReason | None = None
    confidence: float
    status: Status
    previous: tuple[OpenSegment, Moment, EndReason] | None = None
    decision_delay_seconds: float


def transition(
    segment: OpenSegment, previous: OpenSegment | None, *, at: Moment, status: Status
) -> Decision:
    """`segment`'s phase follows `previous`, as said at frame `at`."""
    boundary = (segment.start_seq, segment.start_ns, segment.start_pts_seconds)
    return Decision(
        type=EventType.PHASE_TRANSITION,
        label=segment.label,
        segment=segment,
        confidence=segment.confidence,
        status=status,
        previous=None if previous is None else (previous, boundary, EndReason.NEXT_PHASE),
        decision_delay_seconds=at[2] - segment.start_pts_seconds,
    )


def retraction(segment: OpenSegment, *, at: Moment) -> Decision:
    """The announced phase is taken back at frame `at`."""
    return Decision(
        type=EventType.PHASE_TRANSITION,
        label=segment.label,
        segment=msgspec.structs.replace(segment, revision=segment.revision + 1),
        end=at,
        end_reason=EndReason.RETRACTED,
        confidence=segment.confidence,
        status=Status.RETRACTED,
        decision_delay_seconds=at[2] - segment.start_pts_seconds,
    )
