"""A frame: pixels and the stamp that says whose, which and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.clock import ClockSource, Mark
    from streamer.core.trace import TraceContext

Image = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
"""uint8 (H, W, 3), RGB, 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameStamp:
    """The identity and the times of one analysed frame.

    Attributes:
        stream_id: The camera.
        session: The ingest session that read the frame; only the current one may publish.
        epoch: Grows each time the source is opened anew. Starts at 1.
        seq: Counts analysed frames within the epoch, from 0. A hole is a dropped frame.
        entry_us: Position in the stream's input log: microseconds since 1970 of the capture,
            raised where needed to be strictly increasing over all epochs.
        pts_seconds: Presentation time within the epoch, from 0.
        captured_at_ns: UTC nanoseconds, by `clock`.
        received_at_ns: UTC nanoseconds at which this host had the frame's last packet.
        clock: What `captured_at_ns` is taken from.
        decode_seconds: From receipt of the packet to pixels in the encoder's input size.
        ready: When the pixels were ready for the encoder.
        trace: The trace of a frame that was sampled for tracing.
    """

    stream_id: str
    session: str
    epoch: int
    seq: int
    entry_us: int
    pts_seconds: float
    captured_at_ns: int
    received_at_ns: int
    clock: ClockSource
    decode_seconds: float
    ready: Mark
    trace: TraceContext | None = None

    def __post_init__(self) -> None:
        if not self.stream_id:
            raise ValueError("stream_id: expected a name, found an empty string")
        if self.epoch < 1 or self.seq < 0:
            raise ValueError(f"expected epoch >= 1 and seq >= 0, found {self.epoch}, {self.seq}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One analysed frame.

    Attributes:
        stamp: Whose, which and when.
        image: uint8 (H, W, 3) RGB in the encoder's input size. Owned by the frame.
    """

    stamp: FrameStamp
    image: Image

    def __post_init__(self) -> None:
        check_images(self.image, ndim=3)

    def __repr__(self) -> str:
        s = self.stamp
        return f"Frame({s.stream_id}, epoch={s.epoch}, seq={s.seq}, image={self.image.shape})"


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Frames of any number of streams, encoded together.

    Attributes:
        stamps: One per row, in row order. Frames of one stream are in seq order.
        images: uint8 (N, H, W, 3) RGB. May be a view of a reused buffer: valid until the next
            batch is taken.
    """

    stamps: Sequence[FrameStamp]
    images: np.ndarray[tuple[int, int, int, int], np.dtype[np.uint8]]

    def __post_init__(self) -> None:
        check_images(self.images, ndim=4)
        if len(self.stamps) != len(self.images):
            raise ValueError(f"expected {len(self.images)} stamps, found {len(self.stamps)}")

    def __repr__(self) -> str:
        return f"FrameBatch(images={self.images.shape})"


def check_images(array: np.ndarray, *, ndim: int) -> None:
    """Raise ValueError unless `array` is uint8 RGB of that many dimensions."""
    if array.dtype != np.uint8 or array.ndim != ndim or array.shape[-1] != 3:
        raise ValueError(
            f"expected uint8 with {ndim} dimensions and 3 channels last, "
            f"found {array.dtype} {array.shape}"
        )
