"""One stream's input entries → its new state and events.

The same entries always give the same events and the same state, bit for bit, whatever chunks they
came in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.event import EndReason, GapPolicy, GapReason
from streamer.core.feature import FeatureChunk, StatusNote, StreamStatus
from streamer.core.state import AnomalyState, Checkpoint, DeadLetter, StreamState
from streamer.stages.anomaly import close_anomaly
from streamer.stages.occasion import Occasion
from streamer.stages.version import next_version
from streamer.transport.transport import Refusal, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.core.clock import Mark
    from streamer.core.event import Event
    from streamer.core.feature import InputEntry
    from streamer.core.ledger import Ledger
    from streamer.models.bundle import Bundle
    from streamer.stages.anomaly import AnomalyDecision, AnomalyWatch
    from streamer.stages.ctc import StreamDecoder
    from streamer.stages.decision import Decision
    from streamer.stages.events import EventMaker
    from streamer.transport.transport import LogEntry

_ENDS = {
    StreamStatus.ENDED: EndReason.STREAM_ENDED,
    StreamStatus.FAILED: EndReason.STREAM_ENDED,
    StreamStatus.PAUSED: EndReason.PAUSED,
}
"""What a note ends, by its status."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """A stream's step: where it started, where it is now, what it said."""

    before: Checkpoint
    after: Checkpoint
    events: tuple[Event, ...]
    frames: tuple[Ledger, ...]
    """The ledger of each frame folded in, up to `feature_wait_seconds`."""
    dead_letters: tuple[DeadLetter, ...] = ()
    """What was refused on the way."""


@dataclass(slots=True)
class Fold:
    """One stream's fold under way."""

    before: Checkpoint
    entries: Sequence[LogEntry | Unreadable]
    decoder: StreamDecoder
    watch: AnomalyWatch | None
    maker: EventMaker
    bundle: Bundle
    taken: Mark
    state: StreamState = field(init=False)
    features_D: np.ndarray = field(init=False)
    _version: bytes = field(init=False)
    _events: list[Event] = field(init=False, default_factory=list)
    _frames: Iterator[tuple[FeatureChunk, int]] = field(init=False)
    _occasion: Occasion = field(init=False)
    _ledgers: list[Ledger] = field(init=False, default_factory=list)
    _letters: list[DeadLetter] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.state = self.before.state
        self._version = self.before.version
        self._frames = self._walk()

    def next_frame(self) -> bool:
        """Go to the next frame, doing what lies before it. False when there is none."""
        for chunk, t in self._frames:
            self.features_D = chunk.features[t]
            self._occasion = Occasion.at_frame(chunk, t, taken=self.taken)
            self._bridge()
            return True
        return False

    def take(self, outputs: np.ndarray, hidden_LH: np.ndarray, cell_LH: np.ndarray) -> None:
        """Fold in the model's outputs for the current frame."""
        occasion, state = self._occasion, self.state
        at = (occasion.seq, occasion.captured_at_ns, occasion.pts_seconds)
        step_seconds = max(0.0, occasion.pts_seconds - state.last_pts_seconds)
        num_classes = len(state.decoder.smoothed_C)
        decoder_state, decisions = self.decoder.decode(
            state.decoder, outputs[:num_classes], at=at, step_seconds=step_seconds
        )
        anomaly = state.anomaly
        alarms: list[AnomalyDecision] = []
        if self.watch is not None and anomaly is not None:
            score = float(outputs[num_classes])
            anomaly, alarms = self.watch.decide(anomaly, score, at=at, step_seconds=step_seconds)
        self.state = replace(
            state,
            hidden_LH=hidden_LH,
            cell_LH=cell_LH,
            decoder=decoder_state,
            anomaly=anomaly,
            next_seq=occasion.seq + 1,
            last_pts_seconds=occasion.pts_seconds,
            last_captured_ns=occasion.captured_at_ns,
        )
        self._ledgers.append(occasion.latency)
        self._say(decisions)
        self._say(alarms)

    def finish(self) -> Advanced:
        """The step, once every entry is folded in."""
        position = self.entries[-1].position if self.entries else self.before.position
        after = Checkpoint(state=self.state, position=position, version=self._version)
        return Advanced(
            self.before, after, tuple(self._events), tuple(self._ledgers), tuple(self._letters)
        )

    def _walk(self) -> Iterator[tuple[FeatureChunk, int]]:
        for entry in self.entries:
            judged = self._judge(entry)
            self._version = next_version(
                self._version,
                entry.position,
                entry.payload,
                self.bundle.model_id,
                refusal=judged.refusal if isinstance(judged, Unreadable) else "",
            )
            match judged:
                case Unreadable():
                    self._refuse(judged)
                case StatusNote():
                    self._take_note(judged)
                case FeatureChunk():
                    for t in range(len(judged)):
                        yield judged, t

    def _judge(self, entry: LogEntry | Unreadable) -> InputEntry | Unreadable:
        """What an entry means; itself as refused, if it can't be folded in here."""
        if isinstance(entry, Unreadable):
            return entry
        why = self._misfit(entry.entry)
        if not why:
            return entry.entry
        stream_id = self.state.stream_id
        return Unreadable(stream_id, entry.position, entry.payload, why, Refusal.MISFIT)

    def _misfit(self, item: InputEntry) -> str:
        """Why it can't be folded in here; empty if it can."""
        state, config = self.state, self.bundle.config
        if item.stream_id != state.stream_id:
            return f"expected an entry of stream {state.stream_id}, found {item.stream_id}"
        if isinstance(item, StatusNote):
            return ""
        if item.encoder_id != config.encoder_id:
            return (
                f"bundle {config.name} expects features of encoder {config.encoder_id} "
                f"({config.encoder}), found {item.encoder_id}; run the encoder the bundle was "
                "trained with, or a bundle trained with this encoder"
            )
        if item.features.shape[1] != config.feature_dim:
            return (
                f"bundle {config.name} expects features of width {config.feature_dim}, found "
                f"{item.features.shape[1]}"
            )
        if (item.epoch, item.first_seq) < (state.epoch, state.next_seq):
            return (
                f"expected seq {state.next_seq} of epoch {state.epoch} or later, found seq "
                f"{item.first_seq} of epoch {item.epoch}"
            )
        if not np.isfinite(item.features).all():
            return "expected finite features, found infinity or NaN"
        return ""

    def _refuse(self, entry: Unreadable) -> None:
        """State that an entry was left out. Frames missing by it are stated with the next one."""
        self._letters.append(DeadLetter(entry.position, entry.refusal, entry.reason, entry.payload))
        self._occasion = Occasion.before_next_frame(self.state, at_ns=entry.position * 1000)
        self._gap(
            self.state.next_seq,
            0,
            0.0,
            GapPolicy.HOLD,
            GapReason(entry.refusal),
            position=entry.position,
        )

    def _bridge(self) -> None:
        """State what lies between the last frame and this one, and apply the gap policy."""
        occasion, state = self._occasion, self.state
        if occasion.epoch != state.epoch:
            if state.epoch:
                seconds = (occasion.captured_at_ns - state.last_captured_ns) * 1e-9
                self._close(EndReason.NEW_EPOCH)
                self._gap(0, occasion.seq, seconds, GapPolicy.RESET, GapReason.NEW_EPOCH)
            elif occasion.seq:
                # The first frames of all never came.
                seconds = occasion.pts_seconds
                self._gap(0, occasion.seq, seconds, GapPolicy.RESET, GapReason.DROPPED)
            self._reset(epoch=occasion.epoch, next_seq=occasion.seq)
            return
        missing = occasion.seq - state.next_seq
        seconds = occasion.pts_seconds - state.last_pts_seconds
        if missing:
            self._cross(missing, seconds, GapReason.DROPPED)
        elif seconds > self.bundle.config.gap.state_ttl_seconds:
            self._cross(0, seconds, GapReason.PAUSED)

    def _cross(self, missing: int, seconds: float, reason: GapReason) -> None:
        """Apply the bundle's policy to a gap within an epoch."""
        config, first_seq = self.bundle.config.gap, self.state.next_seq
        policy = config.policy_after(seconds)
        if policy is GapPolicy.RESET:
            self._close(EndReason.GAP)
        self._gap(first_seq, missing, seconds, policy, reason)
        if policy is GapPolicy.RESET:
            self._reset(epoch=self.state.epoch, next_seq=self._occasion.seq)
        elif policy is GapPolicy.DECAY:
            rest = np.float32(0.5 ** (seconds / config.half_life_seconds))
            state = self.state
            self.state = replace(
                state, hidden_LH=state.hidden_LH * rest, cell_LH=state.cell_LH * rest
            )

    def _gap(
        self,
        first_seq: int,
        frames: int,
        seconds: float,
        policy: GapPolicy,
        reason: GapReason,
        *,
        position: int | None = None,
    ) -> None:
        event = self.maker.of_gap(
            self._occasion,
            missing_from_seq=first_seq,
            missing_frames=frames,
            seconds=max(0.0, seconds),
            policy=policy,
            reason=reason,
            sequence=self.state.sequence,
            position=position,
        )
        self._append(event)

    def _reset(self, *, epoch: int, next_seq: int) -> None:
        zeros_LH = np.zeros_like(self.state.hidden_LH)
        self.state = replace(
            self.state,
            epoch=epoch,
            next_seq=next_seq,
            last_pts_seconds=self._occasion.pts_seconds,
            hidden_LH=zeros_LH,
            cell_LH=zeros_LH,
            decoder=self.decoder.initial(),
            anomaly=None if self.watch is None else AnomalyState(),
        )

    def _close(self, reason: EndReason) -> None:
        """End what is open, at the last frame seen and in its epoch."""
        state = self.state
        at = (state.next_seq - 1, state.last_captured_ns, state.last_pts_seconds)
        decoder_state, decisions = self.decoder.close(state.decoder, at=at, reason=reason)
        alarms = close_anomaly(state.anomaly, at=at, reason=reason)
        anomaly = None if self.watch is None else AnomalyState()
        self.state = replace(state, decoder=decoder_state, anomaly=anomaly)
        occasion = self._occasion
        self._occasion = replace(
            occasion,
            epoch=state.epoch,
            seq=at[0],
            captured_at_ns=at[1],
            pts_seconds=at[2],
        )
        self._say(decisions)
        self._say(alarms)
        self._occasion = occasion

    def _take_note(self, note: StatusNote) -> None:
        self._occasion = Occasion.at_note(note, self.state, taken=self.taken)
        reason = _ENDS.get(note.status)
        if reason is not None and self.state.epoch:
            self._close(reason)
        event = self.maker.of_note(note, self._occasion, sequence=self.state.sequence)
        self._append(event)

    def _say(self, decisions: Sequence[Decision | AnomalyDecision]) -> None:
        for decision in decisions:
            self._append(
                self.maker.of_decision(decision, self._occasion, sequence=self.state.sequence)
            )

    def _append(self, event: Event) -> None:
        self._events.append(event)
        self.state = replace(self.state, sequence=self.state.sequence + 1)
