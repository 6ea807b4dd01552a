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
from streamer.stages.admission import admit
from streamer.stages.advanced import Advanced
from streamer.stages.anomaly import close_anomaly
from streamer.stages.lookahead import joined
from streamer.stages.occasion import Occasion
from streamer.stages.version import next_version
from streamer.transport.transport import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.core.clock import Mark
    from streamer.core.event import Event
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
    features_D: np.ndarray | None = field(init=False)
    """Of the frame that has come; None: none has, and the oldest that waits is to be decided."""
    _version: bytes = field(init=False)
    _events: list[Event] = field(init=False, default_factory=list)
    _steps: Iterator[bool] = field(init=False)
    _occasion: Occasion = field(init=False)
    _ready: Mark = field(init=False)
    _ledgers: list[Ledger] = field(init=False, default_factory=list)
    _letters: list[DeadLetter] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.state = self.before.state
        self._version = self.before.version
        self._steps = self._walk()

    def next_step(self) -> bool:
        """Go to the next step of the model, doing what lies before it. False when there is none."""
        return next(self._steps, False)

    @property
    def decides(self) -> bool:
        """With a look ahead: whether the step decides a frame. Else the new one only waits."""
        complete = self.state.num_waiting == self.bundle.config.lookahead_frames
        return self.features_D is None or complete

    def take(self, outputs: np.ndarray, hidden_LH: np.ndarray, cell_LH: np.ndarray) -> None:
        """Fold in the model's outputs for the current frame."""
        self._ledgers.append(self._occasion.latency)
        self._decide(outputs, hidden_LH, cell_LH)

    def take_window(
        self, outputs: np.ndarray, hidden_LH: np.ndarray, cell_LH: np.ndarray, inputs_P: np.ndarray
    ) -> None:
        """Fold in what a step with a look ahead gave.

        Args:
            outputs: Of the oldest frame that waits, if the step `decides`.
            hidden_LH: After that frame.
            cell_LH: After that frame.
            inputs_P: The projection of the frame that has come, if one has.
        """
        decides = self.decides
        if self.features_D is not None:
            arrived = self._occasion
            self._ledgers.append(arrived.latency)
            self.state = joined(self.state, arrived, inputs_P, ready=self._ready)
        if decides:
            self._occasion = Occasion.at_oldest(self.state, ready=self._ready, taken=self.taken)
            lookahead, next_seq = self.state.lookahead, self.state.next_seq
            assert lookahead is not None
            self._decide(outputs, hidden_LH, cell_LH)
            self.state = replace(self.state, lookahead=lookahead.left(), next_seq=next_seq)

    def _decide(self, outputs: np.ndarray, hidden_LH: np.ndarray, cell_LH: np.ndarray) -> None:
        """Decode the outputs for the occasion's frame."""
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
        self._say(decisions)
        self._say(alarms)

    def finish(self) -> Advanced:
        """The step, once every entry is folded in."""
        position = self.entries[-1].position if self.entries else self.before.position
        after = Checkpoint(state=self.state, position=position, version=self._version)
        return Advanced(
            self.before, after, tuple(self._events), tuple(self._ledgers), tuple(self._letters)
        )

    def _walk(self) -> Iterator[bool]:
        """Yields True where the model is to step, and goes on when its outputs have been taken."""
        for entry in self.entries:
            judged = admit(entry, self.state, self.bundle.config)
            self._version = next_version(
                self._version,
                entry.position,
                entry.payload,
                self.bundle.model_id,
                refusal=judged.refusal if isinstance(judged, Unreadable) else "",
            )
            match judged:
                case Unreadable():
                    yield from self._decide_waiting()
                    self._refuse(judged)
                case StatusNote():
                    yield from self._decide_waiting(judged.ready)
                    self._take_note(judged)
                case FeatureChunk():
                    for t in range(len(judged)):
                        self._occasion = Occasion.at_frame(judged, t, taken=self.taken)
                        if self._leaps():
                            yield from self._bridge(judged.ready)
                        self.features_D, self._ready = judged.features[t], judged.ready
                        yield True

    def _decide_waiting(self, ready: Mark | None = None) -> Iterator[bool]:
        """Step through the frames that wait for a look ahead: nothing comes right after them.

        Args:
            ready: When what says so was ready; None: when the last of them was.
        """
        while (lookahead := self.state.lookahead) is not None and lookahead.frames:
            self.features_D = None
            self._ready = ready or lookahead.frames[-1].ready
            yield True

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

    def _leaps(self) -> bool:
        """Whether anything lies between the last frame and this one."""
        occasion, state = self._occasion, self.state
        return (
            occasion.seq != state.next_seq
            or occasion.epoch != state.epoch
            or occasion.pts_seconds - state.newest_pts_seconds
            > self.bundle.config.gap.state_ttl_seconds
        )

    def _bridge(self, ready: Mark) -> Iterator[bool]:
        """State what lies between the last frame and this one, and apply the gap policy.

        Before that, frames that wait for a look ahead are decided: it does not reach across.
        """
        occasion, state = self._occasion, self.state
        missing = occasion.seq - state.next_seq
        seconds = occasion.pts_seconds - state.newest_pts_seconds
        yield from self._decide_waiting(ready)
        self._occasion = occasion
        if occasion.epoch != state.epoch:
            self._begin_epoch()
        elif missing:
            self._cross(missing, seconds, GapReason.DROPPED)
        else:
            self._cross(0, seconds, GapReason.PAUSED)

    def _begin_epoch(self) -> None:
        occasion, state = self._occasion, self.state
        if state.epoch:
            seconds = (occasion.captured_at_ns - state.last_captured_ns) * 1e-9
            self._close(EndReason.NEW_EPOCH)
            self._gap(0, occasion.seq, seconds, GapPolicy.RESET, GapReason.NEW_EPOCH)
        elif occasion.seq:
            # The first frames of all never came.
            seconds = occasion.pts_seconds
            self._gap(0, occasion.seq, seconds, GapPolicy.RESET, GapReason.DROPPED)
        self._reset(epoch=occasion.epoch, next_seq=occasion.seq)

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
