"""Records of frames, of which more than one role tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.core.trace import TraceContext


class DropReason(StrEnum):
    """Why an analysed frame did not become a feature."""

    OVERWRITTEN = "overwritten"
    """A newer frame of the same camera took its place before the encoder came."""
    LATE = "late"
    """It was past its deadline when the encoder came to it."""
    REFUSED = "refused"
    """The frame path refused it: another ingest worker has the stream by now."""
    ABANDONED = "abandoned"
    """It waited for the encoder when another ingest worker took the stream over."""
    LOST = "lost"
    """The log had taken it, Redis lost it, and it could not be sent again."""
    SEND_FULL = "send_full"
    """The ingest worker could not hand it on in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedFrame:
    """A frame that was sampled for tracing.

    Attributes:
        stream_id: The camera.
        epoch: The opening of its source.
        seq: Its number.
        trace: Its trace.
        waited_seconds: What it waited for, before what the record is about began.
    """

    stream_id: str
    epoch: int
    seq: int
    trace: TraceContext
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class FramesDropped:
    """Analysed frames were lost on purpose, and counted by the process that knows.

    Attributes:
        stream_id: The camera.
        reason: Why.
        count: How many.
        trace: Of the frame, if it is one that was sampled for tracing.
    """

    stream_id: str
    reason: DropReason
    count: int
    trace: TraceContext | None = None
