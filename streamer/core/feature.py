"""What the encoder says: chunks of feature vectors, and the notes that travel among them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from streamer.core.clock import ClockSource, Mark
    from streamer.core.trace import TraceContext

LEDGER_COLUMNS = ("decode_seconds", "frame_wait_seconds", "encode_seconds")
"""The columns of `FeatureChunk.latency`: the stages a frame has passed when it is a feature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureChunk:
    """Features of T consecutive analysed frames of one stream: what one batch had of it.

    Attributes:
        stream_id: The camera.
        session: The ingest session that read the frames.
        epoch: The opening of the source that the frames belong to.
        first_seq: seq of row 0; row t is first_seq + t.
        entry_us: Position in the input log: that of the last row's frame.
        features: float16 (T, D).
        pts_seconds: float64 (T,), presentation time within the epoch.
        captured_at_ns: int64 (T,), UTC.
        received_at_ns: int64 (T,), UTC.
        latency: float32 (T, 3), seconds; columns as in `LEDGER_COLUMNS`.
        clock: What the capture times are taken from.
        encoder_id: Digest of the encoder and its preprocessing.
        ready: When the features were ready.
        traces: Of the frames among them that were sampled for tracing: row and trace. It travels
            beside the chunk's bytes, not in them.
    """

    stream_id: str
    session: str
    epoch: int
    first_seq: int
    entry_us: int
    features: np.ndarray
    pts_seconds: np.ndarray
    captured_at_ns: np.ndarray
    received_at_ns: np.ndarray
    latency: np.ndarray
    clock: ClockSource
    encoder_id: str
    ready: Mark
    traces: tuple[tuple[int, TraceContext], ...] = ()

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.features.dtype != np.float16 or len(self) == 0:
            raise ValueError(
                f"features: expected float16 (T, D) with T >= 1, "
                f"found {self.features.dtype} {self.features.shape}"
            )
        columns = {
            "pts_seconds": (self.pts_seconds, np.float64, (len(self),)),
            "captured_at_ns": (self.captured_at_ns, np.int64, (len(self),)),
            "received_at_ns": (self.received_at_ns, np.int64, (len(self),)),
            "latency": (self.latency, np.float32, (len(self), len(LEDGER_COLUMNS))),
        }
        for name, (array, dtype, shape) in columns.items():
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(
                    f"{name}: expected {np.dtype(dtype)} {shape}, found {array.dtype} {array.shape}"
                )

    def __len__(self) -> int:
        return int(self.features.shape[0])

    def __repr__(self) -> str:
        return (
            f"FeatureChunk({self.stream_id}, epoch={self.epoch}, first_seq={self.first_seq}, "
            f"features={self.features.shape})"
        )


class StreamStatus(StrEnum):
    """The state of a camera, as its ingest worker sees it."""

    CONNECTING = "connecting"
    """It is being opened."""
    LIVE = "live"
    """Frames come."""
    RECONNECTING = "reconnecting"
    """It broke off, and is opened again after a pause."""
    PAUSED = "paused"
    """Somebody asked that nobody reads it for now."""
    ENDED = "ended"
    """A file is over, or the stream was removed."""
    FAILED = "failed"
    """No retry would mend it; `detail` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusNote:
    """A change of a camera's state, placed in the input log among the frames it happened between.

    It travels the same way as the frames, so that its place in the order, and with it every
    event that follows, is decided by the input log alone.

    Attributes:
        stream_id: The camera.
        session: The ingest session that wrote it.
        epoch: The current opening of the source; that of the attempt under way when connecting.
        note_seq: Counts notes within the epoch, from 0.
        entry_us: Position in the input log, strictly increasing as with frames.
        status: The new state.
        reason: A short word; empty when there is nothing to say.
        detail: One line for a person, without credentials.
        noted_at_ns: UTC nanoseconds.
        ready: When it was written; once encoded, when the encoder passed it on.
        frame_wait_seconds: Written → taken by the encoder. The other stages do nothing to a note.
    """

    stream_id: str
    session: str
    epoch: int
    note_seq: int
    entry_us: int
    status: StreamStatus
    reason: str
    detail: str
    noted_at_ns: int
    ready: Mark
    frame_wait_seconds: float = 0.0


InputEntry = FeatureChunk | StatusNote
"""What the input log of a stream holds."""
