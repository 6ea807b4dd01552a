"""When and where an event is made: at a frame, at a note, or between two frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.core.clock import ClockSource
from streamer.core.ledger import Ledger

if TYPE_CHECKING:
    from streamer.core.clock import Mark
    from streamer.core.feature import FeatureChunk, StatusNote
    from streamer.core.state import StreamState


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """The frame or note at which events are made.

    Attributes:
        stream_id: The camera.
        epoch: The opening of the source.
        seq: The deciding frame.
        pts_seconds: Its presentation time.
        captured_at_ns: UTC.
        received_at_ns: UTC.
        clock: What the capture time is taken from.
        latency: The ledger so far.
        ahead_seconds: Video time from this frame to the last one that its outputs rest on.
    """

    stream_id: str
    epoch: int
    seq: int
    pts_seconds: float
    captured_at_ns: int
    received_at_ns: int
    clock: ClockSource
    latency: Ledger
    ahead_seconds: float = 0.0

    @classmethod
    def at_frame(cls, chunk: FeatureChunk, t: int, *, taken: Mark) -> Occasion:
        """At frame `t` of a chunk that was taken up at `taken`."""
        decode, frame_wait, encode = chunk.latency[t].tolist()
        return cls(
            stream_id=chunk.stream_id,
            epoch=chunk.epoch,
            seq=chunk.first_seq + t,
            pts_seconds=float(chunk.pts_seconds[t]),
            captured_at_ns=int(chunk.captured_at_ns[t]),
            received_at_ns=int(chunk.received_at_ns[t]),
            clock=chunk.clock,
            latency=Ledger(
                decode_seconds=decode,
                frame_wait_seconds=frame_wait,
                encode_seconds=encode,
                feature_wait_seconds=taken.seconds_since(chunk.ready, otherwise=taken),
            ),
        )

    @classmethod
    def at_oldest(cls, state: StreamState, *, ready: Mark, taken: Mark) -> Occasion:
        """At the oldest frame that waits for a look ahead, once nothing more is waited for.

        Args:
            state: Of the stream, with all that has come.
            ready: When what ended the waiting was ready.
            taken: When that was taken up.
        """
        assert state.lookahead is not None, "no model looks ahead here"
        frames = state.lookahead.frames
        frame = frames[0]
        return cls(
            stream_id=state.stream_id,
            epoch=state.epoch,
            seq=state.next_seq - len(frames),
            pts_seconds=frame.pts_seconds,
            captured_at_ns=frame.captured_at_ns,
            received_at_ns=frame.received_at_ns,
            clock=frame.clock,
            latency=Ledger(
                decode_seconds=frame.decode_seconds,
                frame_wait_seconds=frame.frame_wait_seconds,
                encode_seconds=frame.encode_seconds,
                lookahead_wait_seconds=ready.seconds_since(frame.ready, otherwise=ready),
                feature_wait_seconds=taken.seconds_since(ready, otherwise=taken),
            ),
            ahead_seconds=frames[-1].pts_seconds - frame.pts_seconds,
        )

    @classmethod
    def at_note(cls, note: StatusNote, state: StreamState, *, taken: Mark) -> Occasion:
        """At a note that was taken up at `taken`: before the next frame, if it is of its epoch."""
        same_epoch = note.epoch == state.epoch
        return cls(
            stream_id=note.stream_id,
            epoch=note.epoch,
            seq=state.next_seq if same_epoch else 0,
            pts_seconds=state.last_pts_seconds if same_epoch else 0.0,
            captured_at_ns=note.noted_at_ns,
            received_at_ns=note.noted_at_ns,
            clock=ClockSource.HOST,
            latency=Ledger(
                frame_wait_seconds=note.frame_wait_seconds,
                feature_wait_seconds=taken.seconds_since(note.ready, otherwise=taken),
            ),
        )

    @classmethod
    def before_next_frame(cls, state: StreamState, *, at_ns: int) -> Occasion:
        """Before the frame that a state expects next, at a time (UTC) of its own."""
        return cls(
            stream_id=state.stream_id,
            epoch=state.epoch,
            seq=state.next_seq,
            pts_seconds=state.last_pts_seconds,
            captured_at_ns=at_ns,
            received_at_ns=at_ns,
            clock=ClockSource.HOST,
            latency=Ledger(),
        )
