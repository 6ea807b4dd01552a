"""Records of a temporal worker: steps, their commits, and the events in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.event import Event
    from streamer.telemetry.records.frames import TracedFrame


@dataclass(frozen=True, slots=True)
class BatchAdvanced:
    """The temporal worker folded a batch of input into the states.

    Attributes:
        committed: The streams whose steps are in the store now.
        steps: Model calls.
        frames: Frames folded in, over all streams.
        feature_wait_seconds: One per frame.
        frame_age_seconds: One per frame: receipt of its packet → commit.
        temporal_seconds: Of the whole batch.
        commit_seconds: Of the call that committed it.
        traced: Its frames that were sampled for tracing.
    """

    committed: Sequence[str]
    steps: int
    frames: int
    feature_wait_seconds: Sequence[float]
    frame_age_seconds: Sequence[float]
    temporal_seconds: float
    commit_seconds: float
    traced: Sequence[TracedFrame] = ()


@dataclass(frozen=True, slots=True)
class CommitRefused:
    """A commit changed nothing."""

    stream_id: str
    answer: str


@dataclass(frozen=True, slots=True)
class StateReset:
    """A stream began anew, and its log says so: `model` or `state`."""

    stream_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class EventCommitted:
    """An event is in the log.

    Attributes:
        event: As it stands there.
        trace_id: Of the frame that decided it, if that was sampled for tracing.
        span_id: The span in that trace that others are children of.
    """

    event: Event
    trace_id: str | None = None
    span_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """Something was refused for good, and kept aside for people."""

    stream_id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class InputLag:
    """What stands in the input logs of a temporal worker's streams and is not folded in.

    Attributes:
        frames: How many; NaN: Redis does not answer.
        oldest_seconds: Age of the oldest entry; 0 if there is none; NaN as before.
        late_streams: Streams of which something has waited for more than a second; NaN as before.
    """

    frames: float
    oldest_seconds: float
    late_streams: float


@dataclass(frozen=True, slots=True)
class ActiveStreams:
    """How many streams the worker holds now."""

    count: int
