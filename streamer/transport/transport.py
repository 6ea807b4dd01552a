"""The contracts of the data plane. Two implementations stand behind each: Redis and memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    import numpy as np

    from streamer.core.feature import InputEntry, StatusNote
    from streamer.core.frame import Frame, FrameStamp
    from streamer.telemetry.records.ingest import FramesRefused, FramesSent


class PublishAnswer(StrEnum):
    """What the input log says to an entry."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """Already in the log (or before its end). Nothing to do."""
    GAP = "gap"
    """The predecessor named is not the log's last entry: send again from there."""
    FULL = "full"
    """The log is at its cap. Nothing was evicted; try again later."""
    FENCED = "fenced"
    """Another ingest session owns the stream now."""
    FORGOTTEN = "forgotten"
    """The log was rolled back to before this session. Its ingest worker claims the stream again, or
    another takes it: try again later."""
    FOREIGN = "foreign"
    """A key of the stream holds something that is not ours."""


@dataclass(frozen=True, slots=True)
class Published:
    """An answer.

    Attributes:
        answer: See `PublishAnswer`.
        last_us: Position of the log's last accepted entry; 0 when the answer is FOREIGN.
        key: The foreign key.
    """

    answer: PublishAnswer
    last_us: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A source was opened.

    Attributes:
        epoch: What its frames must carry.
        last_us: After this their positions must be.
        abandoned: Frames of another session that were waiting, and are dropped.
    """

    epoch: int
    last_us: int
    abandoned: int = 0


class StreamLog(Protocol):
    """The input log's write side, one per partition. Used by one thread at a time."""

    def open_source(
        self, stream_id: str, *, session: str, at_least_epoch: int = 1
    ) -> Opened | None:
        """Begin a new epoch of a stream and make `session` the only one that may publish.

        Args:
            stream_id: The camera.
            session: Whose frames are taken from now on.
            at_least_epoch: The log may have forgotten epochs; the caller has not.

        Returns:
            What its frames must carry; None while another worker holds the stream's lease.
        """
        ...

    def reclaim(self, stream_id: str, *, session: str, epoch: int) -> bool:
        """After a rollback to before it was opened: own the stream again, with epoch and all.

        Returns:
            False if its lease is another's by now.
        """
        ...

    def publish(
        self, entries: Sequence[InputEntry], *, previous: Mapping[str, int]
    ) -> list[Published]:
        """Append entries, at most one per stream, all in one call.

        Delivery: exactly once, by the strictly increasing position of each stream's entries.

        Args:
            entries: What to append.
            previous: Position of the entry before it, by stream.

        Returns:
            One answer per entry.
        """
        ...


class Refusal(StrEnum):
    """Why an entry is not folded in."""

    UNREADABLE = "unreadable"
    """Its bytes are none of ours: damaged, or of another version."""
    MISFIT = "misfit"
    """It is of another stream, encoder, or width, or out of order."""
    POISON = "poison"
    """A worker died of it, again and again."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that can't be used: what `Refusal` names. The reader decides what to do."""

    stream_id: str
    position: int
    payload: bytes
    reason: str
    refusal: Refusal = Refusal.UNREADABLE


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry as read: its position, its exact bytes (they make the version), and its meaning."""

    position: int
    payload: bytes
    entry: InputEntry


class InputReader(Protocol):
    """The input log's read side."""

    def read(
        self, positions: Mapping[str, int], *, timeout_seconds: float, limit: int
    ) -> dict[str, list[LogEntry | Unreadable]]:
        """Entries after each stream's position, in order; waits until there is one.

        Args:
            positions: By stream, the position of the last entry already folded in.
            timeout_seconds: Longest wait.
            limit: Most entries of one stream.
        """
        ...


class FrameSender(Protocol):
    """The ingest side of the frame path. Thread-safe: each camera has its own thread.

    Delivery: at most once. A live stream's newest frames win; a recorded one's wait.
    """

    def send(self, frame: Frame, *, wait: bool) -> bool:
        """Hand a frame on.

        Args:
            frame: The frame.
            wait: Wait for room (a recorded source) instead of taking the oldest one's place.

        Returns:
            Whether it was handed on; False when it was dropped because the sender is full or
            closing.
        """
        ...

    def note(self, note: StatusNote) -> None:
        """Hand a note on, in order with the frames."""
        ...

    def flush(self, *, timeout_seconds: float) -> list[FramesSent | FramesRefused]:
        """Move what cameras have queued; waits for the first. Called by the worker's loop."""
        ...

    def doubt(self) -> None:
        """A connection was lost: what was sent may be gone. The next flush makes sure."""
        ...

    def forget(self, stream_id: str) -> None:
        """The stream is no longer this sender's; its camera has ended."""
        ...

    def close(self) -> None:
        """Hand on what is queued, then free everything. Idempotent."""
        ...


class FrameHandle(Protocol):
    """A frame that can still be fetched."""

    @property
    def stamp(self) -> FrameStamp:
        """Its identity."""
        ...

    @property
    def position(self) -> int:
        """Where it stands in the frame path, for `FrameReceiver.done`."""
        ...

    def read_into(self, image: np.ndarray) -> bool:
        """Copy the pixels. False when a newer frame has taken its place.

        Args:
            image: uint8 (H, W, 3).

        Raises:
            TransportError: The frame has another shape.
        """
        ...


class FrameReceiver(Protocol):
    """The encoder side of the frame path. Used by one thread."""

    def assign(self, stream_ids: set[str]) -> None:
        """Receive exactly these streams from now on."""
        ...

    def receive(
        self, *, timeout_seconds: float, paused: Container[str] = ()
    ) -> Sequence[FrameHandle | StatusNote | Unreadable]:
        """What has come since, each stream in order; waits until there is something.

        Args:
            timeout_seconds: Longest wait; 0 does not wait.
            paused: Streams to leave where they are.
        """
        ...

    def doubt(self) -> None:
        """A connection was lost: what is in the path may not be what followed what came last."""
        ...

    def is_current(self, stream_id: str, session: str) -> bool:
        """Whether frames of this session are the newest there are of a stream."""
        ...

    def leave_out(self, stream_id: str, *, seconds: float) -> None:
        """Don't receive a stream for a while: its key is not ours."""
        ...

    def done(self, positions: Mapping[str, int]) -> None:
        """Everything up to these positions is dropped: make room. Publishing does so by itself."""
        ...

    def close(self) -> None:
        """Free mappings and connections. Idempotent."""
        ...
