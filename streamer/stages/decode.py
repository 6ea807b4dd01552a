"""The online decoder: per-frame outputs → decisions about segments.

Causal and incremental: temperature → exponential smoothing → hysteresis per class with minimum
durations. A segment is announced at once as provisional, and confirmed or retracted when its
minimum duration is over. Its start is where the raw probability rose, not where it was noticed.
Phases go by a forward filter instead where the bundle has one: see `filtered`.

Class indices count phases first, then actions. Durations are video time, by presentation times.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from streamer.core.event import EndReason, EventType, Status
from streamer.core.state import DecoderState, OpenSegment
from streamer.stages.decision import Decision, retraction, transition
from streamer.stages.filtered import FilteredPhases, is_live
from streamer.stages.smoothing import smooth

if TYPE_CHECKING:
    from streamer.models.bundle import DecoderConfig
    from streamer.stages.decision import Moment


class Decoder:
    """Decides for any number of streams; holds nothing of any of them."""

    def __init__(
        self, config: DecoderConfig, *, num_phases: int, num_actions: int, analysis_fps: float
    ) -> None:
        self._num_phases = num_phases
        self._num_classes = num_phases + num_actions
        self._config = config
        self._enter_C = np.array(config.enter_C, np.float32)
        self._exit_C = np.array(config.exit_C, np.float32)
        self._min_on_C = config.min_on_seconds_C
        self._min_off_C = config.min_off_seconds_C
        # A minimum that is a whole number of frames must not be missed by half a microsecond.
        self._tolerance_seconds = 0.25 / analysis_fps
        self._filtered = (
            None
            if config.phase_filter is None
            else FilteredPhases(
                config.phase_filter,
                enter_P=config.enter_C[:num_phases],
                analysis_fps=analysis_fps,
            )
        )

    def initial(self) -> DecoderState:
        """The state of a stream before its first frame."""
        filter = None if self._filtered is None else self._filtered.filter.initial()
        return DecoderState.initial(self._num_classes, filter=filter)

    def misfit(self, state: DecoderState) -> str:
        """Why the filter's part of a state can't be this decoder's; empty if it can."""
        if self._filtered is not None:
            return self._filtered.filter.misfit(state.filter)
        return "" if state.filter is None else "expected no phase filter, found one"

    def probabilities(self, logits_C: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float32 (C,): softmax over phases, sigmoid per action."""
        p = self._num_phases
        phases = logits_C[:p] / np.float32(self._config.phase_temperature)
        shifted = np.exp(phases - phases.max()) if p else phases
        actions = logits_C[p:] / np.float32(self._config.action_temperature)
        return np.concatenate(
            (shifted / shifted.sum() if p else shifted, 1 / (1 + np.exp(-actions)))
        ).astype(np.float32)

    def decode(
        self, state: DecoderState, logits_C: np.ndarray, *, at: Moment, step_seconds: float
    ) -> tuple[DecoderState, list[Decision]]:
        """Fold in one frame.

        Args:
            state: The state before it.
            logits_C: float32 (C,), the model's outputs.
            at: The frame.
            step_seconds: Time since the frame before it.
        """
        raw_C = self.probabilities(logits_C)
        state = self._observe(state, raw_C, at, step_seconds)
        if self._filtered is not None:
            state, phase_decisions = self._filtered.decide(state, at=at)
        else:
            state, phase_decisions = self._decide_phase(state, at)
        state, action_decisions = self._decide_actions(state, at)
        return state, phase_decisions + action_decisions

    def close(
        self, state: DecoderState, *, at: Moment, reason: EndReason
    ) -> tuple[DecoderState, list[Decision]]:
        """End every open segment at frame `at`, the last one seen."""
        provisional = [] if state.candidate is None else [state.candidate]
        if state.filter is not None:
            provisional += [segment for segment in state.filter.announced if is_live(segment)]
        decisions = [retraction(segment, at=at) for segment in provisional]
        if state.phase is not None:
            segment = OpenSegment(
                label=-1, start_seq=at[0] + 1, start_ns=at[1], start_pts_seconds=at[2]
            )
            decisions.append(
                Decision(
                    type=EventType.PHASE_TRANSITION,
                    label=None,
                    segment=segment,
                    confidence=state.phase.confidence,
                    status=Status.CONFIRMED,
                    previous=(state.phase, at, reason),
                    decision_delay_seconds=0.0,
                )
            )
        decisions += [self._end_action(segment, at, at, reason) for segment in state.actions]
        return self.initial(), decisions

    def _observe(
        self, state: DecoderState, raw_C: np.ndarray, at: Moment, step_seconds: float
    ) -> DecoderState:
        """Smooth, and note where each class's raw probability rose."""
        smoothed_C = self._smooth(state.smoothed_C, raw_C, step_seconds)
        above = raw_C >= self._exit_C
        rises = above & (state.rise_seq_C < 0)
        return replace(
            state,
            smoothed_C=smoothed_C,
            rise_seq_C=np.where(above, np.where(rises, at[0], state.rise_seq_C), -1),
            rise_ns_C=np.where(rises, at[1], state.rise_ns_C),
            rise_pts_C=np.where(rises, at[2], state.rise_pts_C),
        )

    def _smooth(self, smoothed_C: np.ndarray, raw_C: np.ndarray, step_seconds: float) -> np.ndarray:
        """One step of the exponential smoothing: the filter may have its own time constant."""
        tau = self._config.smoothing_seconds
        if self._config.phase_filter is None:
            return smooth(smoothed_C, raw_C, step_seconds=step_seconds, tau_seconds=tau)
        parts = []
        phases, actions = slice(self._num_phases), slice(self._num_phases, None)
        for part, seconds in (
            (phases, self._config.phase_filter.smoothing_seconds),
            (actions, tau),
        ):
            parts.append(
                smooth(
                    smoothed_C[part], raw_C[part], step_seconds=step_seconds, tau_seconds=seconds
                )
            )
        return np.concatenate(parts)

    def _open(self, state: DecoderState, label: int, at: Moment) -> OpenSegment:
        """A segment that begins where its class rose."""
        confidence = float(state.smoothed_C[label])
        if state.rise_seq_C[label] < 0:
            seq, ns, pts = at
        else:
            seq, ns = int(state.rise_seq_C[label]), int(state.rise_ns_C[label])
            pts = float(state.rise_pts_C[label])
        return OpenSegment(
            label=label, start_seq=seq, start_ns=ns, start_pts_seconds=pts, confidence=confidence
        )

    def _lasted(self, segment: OpenSegment, at: Moment, seconds: float) -> bool:
        return at[2] - segment.start_pts_seconds >= seconds - self._tolerance_seconds

    # Phases: one at a time, always one after the first.

    def _decide_phase(self, state: DecoderState, at: Moment) -> tuple[DecoderState, list[Decision]]:
        if not self._num_phases:
            return state, []
        decisions = []
        candidate = state.candidate
        best = int(np.argmax(state.smoothed_C[: self._num_phases]))
        if candidate is not None and (
            best != candidate.label
            and state.smoothed_C[candidate.label] < self._exit_C[candidate.label]
        ):
            decisions.append(retraction(candidate, at=at))
            candidate = None
        current = None if state.phase is None else state.phase.label
        announced = candidate is not None
        if candidate is None and best != current and state.smoothed_C[best] >= self._enter_C[best]:
            candidate = self._open(state, best, at)
            candidate = self._after(candidate, state.phase)
        if candidate is not None and self._lasted(candidate, at, self._min_on_C[candidate.label]):
            confirmed = msgspec.structs.replace(
                candidate,
                revision=1 if announced else 0,
                confirmed=True,
                confidence=float(state.smoothed_C[candidate.label]),
            )
            decisions.append(transition(confirmed, state.phase, at=at, status=Status.CONFIRMED))
            return replace(state, phase=confirmed, candidate=None), decisions
        if candidate is not None and not announced:
            decisions.append(transition(candidate, state.phase, at=at, status=Status.PROVISIONAL))
        return replace(state, candidate=candidate), decisions

    @staticmethod
    def _after(segment: OpenSegment, previous: OpenSegment | None) -> OpenSegment:
        """A phase can't begin before the one it follows."""
        if previous is None or segment.start_seq > previous.start_seq:
            return segment
        return msgspec.structs.replace(
            segment,
            start_seq=previous.start_seq + 1,
            start_ns=previous.start_ns,
            start_pts_seconds=previous.start_pts_seconds,
        )

    # Actions: each on its own.

    def _decide_actions(
        self, state: DecoderState, at: Moment
    ) -> tuple[DecoderState, list[Decision]]:
        decisions: list[Decision] = []
        still_open: list[OpenSegment] = []
        for segment in state.actions:
            kept, made = self._go_on(segment, state, at)
            decisions += made
            if kept is not None:
                still_open.append(kept)
        known = {segment.label for segment in state.actions}
        for label in range(self._num_phases, self._num_classes):
            if label not in known and state.smoothed_C[label] >= self._enter_C[label]:
                segment = self._open(state, label, at)
                decisions.append(self._action(EventType.ACTION_START, segment, at))
                still_open.append(segment)
        return replace(state, actions=tuple(still_open)), decisions

    def _go_on(
        self, segment: OpenSegment, state: DecoderState, at: Moment
    ) -> tuple[OpenSegment | None, list[Decision]]:
        label = segment.label
        probability = float(state.smoothed_C[label])
        if probability < self._exit_C[label]:
            below = segment.below or at
            if not segment.confirmed:
                return None, [self._end_action(segment, below, at, EndReason.RETRACTED)]
            if at[2] - below[2] >= self._min_off_C[label] - self._tolerance_seconds:
                return None, [self._end_action(segment, below, at, EndReason.EXIT)]
            return msgspec.structs.replace(segment, below=below), []
        segment = msgspec.structs.replace(segment, below=None)
        if not segment.confirmed and self._lasted(segment, at, self._min_on_C[label]):
            segment = msgspec.structs.replace(
                segment, revision=1, confirmed=True, confidence=probability
            )
            return segment, [self._action(EventType.ACTION_UPDATE, segment, at)]
        return segment, []

    @staticmethod
    def _action(type: EventType, segment: OpenSegment, at: Moment) -> Decision:
        return Decision(
            type=type,
            label=segment.label,
            segment=segment,
            confidence=segment.confidence,
            status=Status.CONFIRMED if segment.confirmed else Status.PROVISIONAL,
            decision_delay_seconds=at[2] - segment.start_pts_seconds,
        )

    @staticmethod
    def _end_action(segment: OpenSegment, end: Moment, at: Moment, reason: EndReason) -> Decision:
        retracted = reason is EndReason.RETRACTED
        return Decision(
            type=EventType.ACTION_END,
            label=segment.label,
            segment=msgspec.structs.replace(segment, revision=segment.revision + 1),
            end=end,
            end_reason=reason,
            confidence=segment.confidence,
            status=Status.RETRACTED if retracted else Status.CONFIRMED,
            decision_delay_seconds=at[2] - end[2],
        )
