"""Outputs → the segments that serving would announce, by serving's own decoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamer.core.event import EndReason, EventType, Status
from streamer.stages.decode import Decoder
from streamer.training.metrics import Stretch

if TYPE_CHECKING:
    import numpy as np

    from streamer.models.bundle import DecoderConfig
    from streamer.stages.decision import Decision
    from streamer.training.annotations import Labels


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was announced of a clip.

    Attributes:
        phases: Confirmed phases.
        actions: Confirmed actions; the labels count from the first action.
        delays_seconds: From the boundary to the first announcement, per confirmed phase.
        retracted: How many announcements were taken back.
    """

    phases: list[Stretch]
    actions: list[Stretch]
    delays_seconds: list[float]
    retracted: int


class ClipDecoder:
    """Runs the decoder over whole clips.

    Args:
        config: Of the decoder.
        labels: The classes.
        analysis_fps: Frames per second.
        lookahead_frames: How many frames later than a frame its outputs are known; less at the end.
    """

    def __init__(
        self,
        config: DecoderConfig,
        *,
        labels: Labels,
        analysis_fps: float,
        lookahead_frames: int = 0,
    ) -> None:
        self._lookahead_frames = lookahead_frames
        self._num_phases = len(labels.phases)
        self._period_seconds = 1 / analysis_fps
        self._decoder = Decoder(
            config,
            num_phases=len(labels.phases),
            num_actions=len(labels.actions),
            analysis_fps=analysis_fps,
        )

    def decode(self, logits_TC: np.ndarray, pts_T: np.ndarray) -> Decoded:
        """The segments of one clip.

        Args:
            logits_TC: float32.
            pts_T: Seconds, of at least one frame.
        """
        state, decisions = self._decoder.initial(), []
        before, at = float(pts_T[0]) - self._period_seconds, (0, 0, 0.0)
        for seq, (logits_C, pts) in enumerate(zip(logits_TC, pts_T.tolist(), strict=True)):
            at = (seq, round(pts * 1e9), pts)
            state, made = self._decoder.decode(state, logits_C, at=at, step_seconds=pts - before)
            decisions += self._late(made, pts_T, seq) if self._lookahead_frames else made
            before = pts
        _, made = self._decoder.close(state, at=at, reason=EndReason.STREAM_ENDED)
        # What the end of the clip takes back was no mistake.
        retracted = sum(decision.status is Status.RETRACTED for decision in decisions)
        decisions += made
        return Decoded(*self._segments(decisions), _delays(decisions), retracted)

    def _late(self, made: list[Decision], pts_T: np.ndarray, seq: int) -> list[Decision]:
        """Decisions for frame `seq` with the wait for the look ahead in their delays."""
        told = min(seq + self._lookahead_frames, len(pts_T) - 1)
        ahead_seconds = float(pts_T[told] - pts_T[seq])
        return [
            replace(one, decision_delay_seconds=one.decision_delay_seconds + ahead_seconds)
            for one in made
        ]

    def _segments(self, decisions: list[Decision]) -> tuple[list[Stretch], list[Stretch]]:
        phases, actions = [], []
        for decision in decisions:
            if decision.type is EventType.PHASE_TRANSITION and decision.previous is not None:
                if decision.status is Status.CONFIRMED:
                    segment, end, _ = decision.previous
                    phases.append(Stretch(segment.label, segment.start_pts_seconds, end[2]))
            elif decision.type is EventType.ACTION_END and decision.status is Status.CONFIRMED:
                segment, end_at = decision.segment, decision.end
                assert end_at is not None
                actions.append(
                    Stretch(segment.label - self._num_phases, segment.start_pts_seconds, end_at[2])
                )
        return phases, actions


def _delays(decisions: list[Decision]) -> list[float]:
    """The first word about each confirmed phase: provisional if there was one, else confirmed.

    From its confirmed start, which may have been moved; 0 if it was announced before that.
    """
    delays: list[float] = []
    announced: dict[int, float] = {}
    for decision in decisions:
        if decision.type is not EventType.PHASE_TRANSITION or decision.label is None:
            continue
        start = decision.segment.start_pts_seconds
        said = start + decision.decision_delay_seconds
        if decision.status is Status.RETRACTED:
            announced.pop(decision.label, None)
        elif decision.status is Status.PROVISIONAL:
            announced.setdefault(decision.label, said)
        else:
            delays.append(max(0.0, announced.pop(decision.label, said) - start))
    return delays
