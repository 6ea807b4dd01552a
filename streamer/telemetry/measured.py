"""Records of what is looked at now and then: what there is, and how much waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


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
