"""Records of what happened, and who wants to know.

The stages and workers emit records; observers turn them into metrics or log lines. Logic never
knows about either. Records on the hot path are one per batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from streamer.telemetry.measured import (
    ClockOffset,
    EncoderServed,
    FramesWaiting,
    GpuMemory,
    InputLag,
    StreamDescribed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.core.event import Event
    from streamer.core.feature import StatusNote
    from streamer.core.frame import FrameStamp
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
class FramesSent:
    """The ingest worker handed frames on, or would have, had newer ones not overtaken them.

    Attributes:
        frames_by_stream: How many.
        decode_seconds: One per frame that was not overtaken.
        traced: Those sampled for tracing that are on their way.
    """

    frames_by_stream: Mapping[str, int]
    decode_seconds: Sequence[float]
    traced: Sequence[FrameStamp] = ()


@dataclass(frozen=True, slots=True)
class FramesRefused:
    """The frame path took nothing of a stream.

    Attributes:
        stream_id: The camera.
        answer: `fenced` (another ingest session owns the stream), `forgotten` (Redis has lost that
            this one owns it, and it can't claim it again) or `foreign` (a key of the stream holds
            something that is not ours).
        frames: How many frames are lost by it.
        key: The foreign key, if that is why.
    """

    stream_id: str
    answer: str
    frames: int
    key: str = ""


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


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """A camera's state changed."""

    note: StatusNote


@dataclass(frozen=True, slots=True)
class BatchEncoded:
    """The encoder finished a batch.

    Attributes:
        frame_wait_seconds: One per frame.
        encode_seconds: Of the whole batch.
        publish_seconds: Of the call that published its features.
        traced: Its frames that were sampled for tracing.
    """

    frame_wait_seconds: Sequence[float]
    encode_seconds: float
    publish_seconds: float
    traced: Sequence[TracedFrame] = ()


@dataclass(frozen=True, slots=True)
class FeaturesPublished:
    """The input log has taken a chunk, now or when it was sent before."""

    stream_id: str
    frames: int


@dataclass(frozen=True, slots=True)
class FeaturesRefused:
    """The input log did not take a chunk. `key` is the foreign key, if that is why."""

    stream_id: str
    answer: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class FeaturesResent:
    """The input log had lost its newest entries; they were sent again.

    Attributes:
        stream_id: Whose.
        entries: How many.
        complete: False when some were no longer in the resend buffer: a stated gap.
    """

    stream_id: str
    entries: int
    complete: bool


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
class ModelServed:
    """The temporal worker runs this model from now on. `actions` are the labels it knows."""

    model_id: str
    name: str
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelPending:
    """Another model is wanted than runs; an empty id: none is any more."""

    model_id: str


@dataclass(frozen=True, slots=True)
class ModelRefused:
    """A model that is wanted could not be loaded: the worker keeps the one it has."""

    model_id: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftMeasured:
    """How far what the model sees is from its training; see `streamer.stages.drift_watch.Drift`."""

    model_id: str
    mahalanobis: float
    frechet: float
    psi: Mapping[str, float]
    entropy_nats: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StreamsAwaitingModel:
    """Streams in this worker's care that wait for a model that it has not loaded."""

    stream_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """The frame that decided an event was looked for.

    Attributes:
        stream_id: The camera.
        kept: Whether it was still remembered.
    """

    stream_id: str
    kept: bool


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """Something was refused for good, and kept aside for people."""

    stream_id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class LeasesChanged:
    """Which shares of the work this worker has.

    Attributes:
        what: `partitions` or `streams`.
        gained: How many it has taken.
        lost: How many it has given back, or lost.
        held: How many it has now.
    """

    what: str
    gained: int
    lost: int
    held: int


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
class InputRefused:
    """An entry is unusable.

    Attributes:
        stream_id: Whose.
        reason: A word.
        detail: A line for people.
    """

    stream_id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class StreamTakenUp:
    """A stream is this worker's from now on.

    Attributes:
        stream_id: The camera.
        phase: The confirmed phase it is in, where that is known.
    """

    stream_id: str
    phase: str | None = None


@dataclass(frozen=True, slots=True)
class StreamReleased:
    """A stream is no longer this worker's: it was removed, or another has it."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class ActiveStreams:
    """How many streams the worker holds now."""

    count: int


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
