"""Records of an ingest worker: its cameras, and what it hands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.core.feature import StatusNote
    from streamer.core.frame import FrameStamp


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
class StatusChanged:
    """A camera's state changed."""

    note: StatusNote


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDescribed:
    """What a camera delivers; told when it begins and when it changes.

    Attributes:
        stream_id: The camera.
        kind: `rtsp`, `http`, `device`, `file` or `synthetic`.
        width: Of its pictures, in pixels.
        height: The same.
        clock: What capture times are taken from; see `ClockSource`.
    """

    stream_id: str
    kind: str
    width: int
    height: int
    clock: str


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How far a camera's clock is ahead of this host's, less the time a picture takes to here."""

    stream_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """The frame that decided an event was looked for.

    Attributes:
        stream_id: The camera.
        kept: Whether it was still remembered.
    """

    stream_id: str
    kept: bool
