"""The state of a stream: all that affects later output, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np

from streamer.core.clock import ClockSource, Mark

if TYPE_CHECKING:
    from streamer.core.event import Event


class OpenSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment the decoder has announced and not yet ended.

    Attributes:
        label: Index of its class.
        start_seq: seq of its first frame.
        start_ns: Capture time of its first frame, UTC nanoseconds.
        start_pts_seconds: Presentation time of its first frame.
        revision: Revision of its last event.
        confirmed: Whether it has lasted its minimum duration.
        confidence: Probability at its last event.
        below: Where it fell below its exit threshold, if it has: (seq, captured ns, pts seconds).
    """

    label: int
    start_seq: int
    start_ns: int
    start_pts_seconds: float
    revision: int = 0
    confirmed: bool = False
    confidence: float = 0.0
    below: tuple[int, int, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterState:
    """What the filter over phases remembers: at most its lag and one frame. W counts those frames.

    Attributes:
        forward_S: float64 (S,), filtered distribution of the phases' stages at the oldest frame.
        evidence_WP: float32 (W, P), weighted log-likelihoods of the phases.
        seq_W: int64 (W,), seq of each frame.
        ns_W: int64 (W,), its capture time, UTC nanoseconds.
        pts_W: float64 (W,), its presentation time in seconds.
        announced: Provisional phases that are not confirmed yet, in order. An odd revision: taken
            back or confirmed elsewhere, and kept while another could begin at the same frame.
    """

    forward_S: np.ndarray
    evidence_WP: np.ndarray
    seq_W: np.ndarray
    ns_W: np.ndarray
    pts_W: np.ndarray
    announced: tuple[OpenSegment, ...] = ()

    @classmethod
    def initial(cls, *, num_stages: int, num_phases: int) -> FilterState:
        """The state before the first frame."""
        return cls(
            forward_S=np.zeros(num_stages, np.float64),
            evidence_WP=np.zeros((0, num_phases), np.float32),
            seq_W=np.zeros(0, np.int64),
            ns_W=np.zeros(0, np.int64),
            pts_W=np.zeros(0, np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderState:
    """What the decoder remembers of a stream. C counts phases, then actions.

    Attributes:
        smoothed_C: float32 (C,), smoothed probabilities; NaN before the first frame.
        rise_seq_C: int64 (C,), seq at which a class's raw probability last rose above its exit
            threshold; -1 while it is below.
        rise_ns_C: int64 (C,), capture time of that frame.
        rise_pts_C: float64 (C,), its presentation time.
        phase: The confirmed phase.
        candidate: The provisional phase, where thresholds decide.
        actions: Open actions.
        filter: Of the phases; None where thresholds decide.
    """

    smoothed_C: np.ndarray
    rise_seq_C: np.ndarray
    rise_ns_C: np.ndarray
    rise_pts_C: np.ndarray
    phase: OpenSegment | None = None
    candidate: OpenSegment | None = None
    actions: tuple[OpenSegment, ...] = ()
    filter: FilterState | None = None

    @classmethod
    def initial(cls, num_classes: int, *, filter: FilterState | None = None) -> DecoderState:
        """The state before the first frame."""
        return cls(
            smoothed_C=np.full(num_classes, np.nan, np.float32),
            rise_seq_C=np.full(num_classes, -1, np.int64),
            rise_ns_C=np.zeros(num_classes, np.int64),
            rise_pts_C=np.zeros(num_classes, np.float64),
            filter=filter,
        )


class AnomalyState(msgspec.Struct, frozen=True, kw_only=True):
    """What the watch for anomalies remembers of a stream.

    Attributes:
        smoothed: Smoothed score, nats per dimension; None before the first frame.
        begun_pts_seconds: Presentation time of the first frame since the state began anew.
        rise: The frame since which frames' own scores are at or above the threshold to leave:
            (seq, captured ns, pts seconds).
        segment: The anomaly that is announced and not yet ended.
        peak: Its highest smoothed score so far.
    """

    smoothed: float | None = None
    begun_pts_seconds: float = 0.0
    rise: tuple[int, int, float] | None = None
    segment: OpenSegment | None = None
    peak: float = 0.0


class WaitingFrame(msgspec.Struct, frozen=True, array_like=True):
    """A frame whose outputs wait for frames to come.

    Attributes:
        captured_at_ns: UTC.
        received_at_ns: UTC.
        pts_seconds: Its presentation time.
        clock: What the capture time is taken from.
        decode_seconds: Of its ledger.
        frame_wait_seconds: Of its ledger.
        encode_seconds: Of its ledger.
        ready: When its features were ready: as the input log says it, so that a replay has it too.
    """

    captured_at_ns: int
    received_at_ns: int
    pts_seconds: float
    clock: ClockSource
    decode_seconds: float
    frame_wait_seconds: float
    encode_seconds: float
    ready: Mark


@dataclass(frozen=True, slots=True)
class LookaheadState:
    """The W last frames, which a model that looks ahead has not decided yet. No seq is missing.

    Attributes:
        frames: Oldest first.
        inputs_WP: float32, what the network's projection made of their features.
    """

    frames: tuple[WaitingFrame, ...]
    inputs_WP: np.ndarray

    def __post_init__(self) -> None:
        if self.inputs_WP.ndim != 2 or len(self.inputs_WP) != len(self.frames):
            raise ValueError(
                f"expected the inputs of {len(self.frames)} waiting frames as (W, P), found "
                f"{self.inputs_WP.shape}"
            )

    @classmethod
    def initial(cls, projection_dim: int) -> Self:
        """Nothing waits."""
        return cls((), np.zeros((0, projection_dim), np.float32))

    def __len__(self) -> int:
        return len(self.frames)

    def joined(self, frame: WaitingFrame, inputs_P: np.ndarray) -> Self:
        """With one frame more."""
        inputs_WP = np.concatenate((self.inputs_WP, inputs_P[None]))
        return replace(self, frames=(*self.frames, frame), inputs_WP=inputs_WP)

    def left(self) -> Self:
        """Without the oldest frame."""
        return replace(self, frames=self.frames[1:], inputs_WP=self.inputs_WP[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """All that decides a stream's later events.

    Attributes:
        stream_id: The camera.
        model_id: Digest of the bundle that made it.
        encoder_id: Digest of the encoder whose features went in.
        row: The stream's row in a batch, kept for life: floating-point bits depend on it.
        epoch: Opening of the source of the last frame; 0 before the first.
        next_seq: seq expected next.
        sequence: Number of the next event.
        last_pts_seconds: Presentation time of the last frame with outputs.
        last_captured_ns: Capture time of the last frame with outputs, UTC.
        hidden_LH: float32 (L, H).
        cell_LH: float32 (L, H).
        decoder: See `DecoderState`.
        anomaly: See `AnomalyState`; None where no model watches for anomalies.
        lookahead: Frames that have come and have no outputs yet; None where no model looks ahead.
    """

    stream_id: str
    model_id: str
    encoder_id: str
    row: int
    epoch: int = 0
    next_seq: int = 0
    sequence: int = 0
    last_pts_seconds: float = 0.0
    last_captured_ns: int = 0
    hidden_LH: np.ndarray
    cell_LH: np.ndarray
    decoder: DecoderState
    anomaly: AnomalyState | None = None
    lookahead: LookaheadState | None = None

    def __post_init__(self) -> None:
        if self.hidden_LH.shape != self.cell_LH.shape or self.hidden_LH.ndim != 2:
            raise ValueError(
                f"expected hidden and cell of one shape (L, H), "
                f"found {self.hidden_LH.shape} and {self.cell_LH.shape}"
            )

    @property
    def num_waiting(self) -> int:
        """How many frames wait for a look ahead."""
        return 0 if self.lookahead is None else len(self.lookahead)

    @property
    def newest_pts_seconds(self) -> float:
        """Presentation time of the last frame that has come, with outputs or without."""
        if self.lookahead is None or not self.lookahead.frames:
            return self.last_pts_seconds
        return self.lookahead.frames[-1].pts_seconds

    @property
    def newest_captured_ns(self) -> int:
        """Capture time of that frame."""
        if self.lookahead is None or not self.lookahead.frames:
            return self.last_captured_ns
        return self.lookahead.frames[-1].captured_at_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state and the exact input that made it.

    Attributes:
        state: The state after the entry at `position`.
        position: `entry_us` of the last input entry folded in; 0 before the first.
        version: Digest chain over (previous version, entry, payload, model); empty at the start.
    """

    state: StreamState
    position: int
    version: bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something refused for good, kept aside for people.

    Attributes:
        position: Where it stood in the input log; that of the checkpoint for a state.
        reason: A word.
        detail: A line.
        payload: Its bytes.
    """

    position: int
    reason: str
    detail: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One stream's step from a checkpoint to the next, written all or not at all.

    Attributes:
        expected: Version of the checkpoint the step started from.
        checkpoint: The checkpoint after it.
        events: What it said, in sequence order.
        dead_letters: What it refused.
        anchor: The checkpoint it started from, if that is to be kept for replay; its position is
            right before the step's first entry.
    """

    expected: bytes
    checkpoint: Checkpoint
    events: tuple[Event, ...]
    dead_letters: tuple[DeadLetter, ...] = ()
    anchor: Checkpoint | None = None
