"""Records of an encoder worker: batches, and what becomes of their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.telemetry.records.frames import TracedFrame


@dataclass(frozen=True, slots=True)
class EncoderServed:
    """The encoder worker runs this encoder.

    Attributes:
        name: What the user called it.
        backend: `onnx` or `torch`.
        device: `cpu`, `cuda:0` and so on.
    """

    name: str
    backend: str
    device: str


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """GPU memory of this process.

    Attributes:
        device: `cuda:0` and so on.
        bytes_by_kind: `allocated`, `reserved`.
    """

    device: str
    bytes_by_kind: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FramesWaiting:
    """What stands in the frame path of an encoder's streams.

    Attributes:
        entries: How many; NaN: Redis does not answer.
        oldest_seconds: Age of the oldest; 0 if there is none; NaN as before.
    """

    entries: float
    oldest_seconds: float


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
