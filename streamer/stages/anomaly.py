"""The online decision about anomalies: per-frame scores → segments of what is unusual.

Causal and incremental: ceiling → exponential smoothing → one threshold to enter and one to leave,
with minimum durations. A segment is announced at once as provisional, and confirmed or retracted
when its minimum duration is over. It starts where the frame's own score rose above the threshold to
leave, not where that was noticed. Durations are video time, by presentation times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from streamer.core.event import EndReason, EventType, Status
from streamer.core.state import AnomalyState, OpenSegment

if TYPE_CHECKING:
    from streamer.models.anomaly import AnomalyConfig
    from streamer.stages.decision import Moment

MAX_STEP_PERIODS = 2.0
"""A frame speaks for no longer a time than this, however long none came before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyDecision:
    """What is said about an anomaly at a frame.

    Attributes:
        type: Start or end.
        segment: The segment, with its revision. Its confidence is that of its peak.
        end: Its last frame, for an end.
        end_reason: Why it ended.
        score: Smoothed, in nats per dimension: the highest so far.
        confidence: Of that score, see `AnomalyConfig.confidence`.
        status: See `Status`.
        decision_delay_seconds: From the boundary to this frame.
    """

    type: EventType
    segment: OpenSegment
    end: Moment | None = None
    end_reason: EndReason | None = None
    score: float
    confidence: float
    status: Status
    decision_delay_seconds: float


class AnomalyWatch:
    """Decides for any number of streams; holds nothing of any of them."""

    def __init__(self, config: AnomalyConfig, *, analysis_fps: float) -> None:
        self._config = config
        self._max_step_seconds = MAX_STEP_PERIODS / analysis_fps
        # A minimum that is a whole number of frames must not be missed by half a microsecond.
        self._tolerance_seconds = 0.25 / analysis_fps

    def decide(
        self, state: AnomalyState, score: float, *, at: Moment, step_seconds: float
    ) -> tuple[AnomalyState, list[AnomalyDecision]]:
        """Fold in one frame.

        Args:
            state: The state before it.
            score: The model's, in nats per dimension.
            at: The frame.
            step_seconds: Time since the frame before it.
        """
        state = self._observe(state, score, at, step_seconds)
        if state.segment is not None:
            return self._go_on(state, state.segment, at)
        warm = at[2] - state.begun_pts_seconds >= self._config.warmup_seconds
        if warm and state.smoothed is not None and state.smoothed >= self._config.enter:
            return self._begin(state, state.smoothed, at)
        return state, []

    def _observe(
        self, state: AnomalyState, score: float, at: Moment, step_seconds: float
    ) -> AnomalyState:
        """Smooth, and note where the frames' own scores rose."""
        config = self._config
        # Also what is no number, if a model should ever say that, counts as strange.
        score = score if score < config.ceiling else config.ceiling
        smoothed, begun_pts_seconds = score, state.begun_pts_seconds
        if state.smoothed is None:
            begun_pts_seconds = at[2]
        elif config.smoothing_seconds > 0:
            seconds = min(step_seconds, self._max_step_seconds)
            weight = 1 - math.exp(-seconds / config.smoothing_seconds)
            smoothed = state.smoothed + weight * (score - state.smoothed)
        rise = (state.rise or at) if score >= config.exit else None
        return msgspec.structs.replace(
            state, smoothed=smoothed, begun_pts_seconds=begun_pts_seconds, rise=rise
        )

    def _begin(
        self, state: AnomalyState, score: float, at: Moment
    ) -> tuple[AnomalyState, list[AnomalyDecision]]:
        seq, ns, pts = state.rise or at
        segment = OpenSegment(
            label=0,
            start_seq=seq,
            start_ns=ns,
            start_pts_seconds=pts,
            confirmed=self._lasted(pts, at),
            confidence=self._config.confidence(score),
        )
        state = msgspec.structs.replace(state, segment=segment, peak=score)
        return state, [_start(segment, score, segment.confidence, at)]

    def _go_on(
        self, state: AnomalyState, segment: OpenSegment, at: Moment
    ) -> tuple[AnomalyState, list[AnomalyDecision]]:
        config, score = self._config, state.smoothed
        assert score is not None
        if score < config.exit:
            below = segment.below or at
            over = not segment.confirmed or (
                at[2] - below[2] >= config.min_off_seconds - self._tolerance_seconds
            )
            if over:
                reason = EndReason.EXIT if segment.confirmed else EndReason.RETRACTED
                # The next one rises anew, so that no two begin at the same frame.
                ended = msgspec.structs.replace(state, segment=None, rise=None, peak=0.0)
                return ended, [_end(segment, state.peak, below, at, reason)]
            segment = msgspec.structs.replace(segment, below=below)
            return msgspec.structs.replace(state, segment=segment), []
        segment = msgspec.structs.replace(segment, below=None)
        if score > state.peak:
            segment = msgspec.structs.replace(segment, confidence=config.confidence(score))
            state = msgspec.structs.replace(state, peak=score)
        decisions = []
        if not segment.confirmed and self._lasted(segment.start_pts_seconds, at):
            segment = msgspec.structs.replace(segment, revision=1, confirmed=True)
            decisions = [_start(segment, state.peak, segment.confidence, at)]
        return msgspec.structs.replace(state, segment=segment), decisions

    def _lasted(self, start_pts_seconds: float, at: Moment) -> bool:
        seconds = self._config.min_on_seconds - self._tolerance_seconds
        return at[2] - start_pts_seconds >= seconds


def close_anomaly(
    state: AnomalyState | None, *, at: Moment, reason: EndReason
) -> list[AnomalyDecision]:
    """End what is open at frame `at`, the last one seen; what was never confirmed is retracted."""
    if state is None or state.segment is None:
        return []
    if not state.segment.confirmed:
        reason = EndReason.RETRACTED
    return [_end(state.segment, state.peak, at, at, reason)]


def _start(segment: OpenSegment, score: float, confidence: float, at: Moment) -> AnomalyDecision:
    return AnomalyDecision(
        type=EventType.ANOMALY_START,
        segment=segment,
        score=score,
        confidence=confidence,
        status=Status.CONFIRMED if segment.confirmed else Status.PROVISIONAL,
        decision_delay_seconds=at[2] - segment.start_pts_seconds,
    )


def _end(
    segment: OpenSegment, peak: float, end: Moment, at: Moment, reason: EndReason
) -> AnomalyDecision:
    return AnomalyDecision(
        type=EventType.ANOMALY_END,
        segment=msgspec.structs.replace(segment, revision=segment.revision + 1),
        end=end,
        end_reason=reason,
        score=peak,
        confidence=segment.confidence,
        status=Status.RETRACTED if reason is EndReason.RETRACTED else Status.CONFIRMED,
        decision_delay_seconds=at[2] - end[2],
    )
