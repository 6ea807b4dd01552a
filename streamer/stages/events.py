"""Decisions, notes and gaps → events: names for indices, ids, sequence numbers, times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.core.event import (
    ActionData,
    AnomalyData,
    Event,
    EventType,
    FrameRef,
    GapData,
    GapPolicy,
    GapReason,
    ModelChangedData,
    PhaseData,
    PhaseEnd,
    Segment,
    StatusData,
    Timing,
    event_id,
    rfc3339,
    sequence_text,
    snapshot_link,
)
from streamer.stages.anomaly import AnomalyDecision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.event import EndReason, EventData
    from streamer.core.feature import StatusNote
    from streamer.core.state import OpenSegment, StreamState
    from streamer.stages.decision import Decision, Moment
    from streamer.stages.occasion import Occasion


class EventMaker:
    """Makes events for one model. Holds nothing of any stream: numbers are arguments."""

    def __init__(
        self, *, phases: Sequence[str], actions: Sequence[str], model_id: str, encoder_id: str
    ) -> None:
        self._labels = (*phases, *actions)
        self._model_id = model_id
        self._encoder_id = encoder_id

    def of_decision(
        self, decision: Decision | AnomalyDecision, occasion: Occasion, *, sequence: int
    ) -> Event:
        """The event of a decision."""
        segment = _segment(decision.segment, end=decision.end, reason=decision.end_reason)
        delay_seconds = decision.decision_delay_seconds + occasion.ahead_seconds
        label = None
        if not isinstance(decision, AnomalyDecision) and decision.label is not None:
            label = self._labels[decision.label]
        common = self._common(occasion)
        links = {"snapshot": snapshot_link(occasion.stream_id, common["frame"])}
        data: EventData
        if isinstance(decision, AnomalyDecision):
            data = AnomalyData(
                **common,
                segment=segment,
                score=decision.score,
                confidence=decision.confidence,
                status=decision.status,
                decision_delay_seconds=delay_seconds,
                links=links,
            )
        elif decision.type is EventType.PHASE_TRANSITION:
            previous = decision.previous
            data = PhaseData(
                **common,
                label=label,
                segment=segment,
                previous=None
                if previous is None
                else PhaseEnd(
                    label=self._labels[previous[0].label],
                    segment=_segment(previous[0], end=previous[1], reason=previous[2]),
                ),
                confidence=decision.confidence,
                status=decision.status,
                decision_delay_seconds=delay_seconds,
                links=links,
            )
        else:
            data = ActionData(
                **common,
                label=label or "",
                segment=segment,
                confidence=decision.confidence,
                status=decision.status,
                decision_delay_seconds=delay_seconds,
                links=links,
            )
        happened_ns = decision.segment.start_ns if decision.end is None else decision.end[1]
        return self._event(
            decision.type,
            data,
            occasion,
            sequence=sequence,
            label=label or "",
            start_seq=decision.segment.start_seq,
            revision=decision.segment.revision,
            happened_ns=happened_ns,
        )

    def of_note(self, note: StatusNote, occasion: Occasion, *, sequence: int) -> Event:
        """The event of a change of the camera's state."""
        data = StatusData(
            **self._common(occasion), state=note.status, reason=note.reason, detail=note.detail
        )
        return self._event(
            EventType.STREAM_STATUS,
            data,
            occasion,
            sequence=sequence,
            label=note.status,
            start_seq=note.note_seq,
            revision=0,
            happened_ns=note.noted_at_ns,
        )

    def of_gap(
        self,
        occasion: Occasion,
        *,
        missing_from_seq: int,
        missing_frames: int,
        seconds: float,
        policy: GapPolicy,
        reason: GapReason,
        sequence: int,
        position: int | None = None,
    ) -> Event:
        """The event of missing video before the occasion's frame.

        Args:
            occasion: The frame.
            missing_from_seq: seq of the first missing frame.
            missing_frames: How many.
            seconds: Video time that passed.
            policy: What was done to the state.
            reason: Why.
            sequence: The event's number.
            position: Of the input entry that was refused, if that is why: several may be, at one
                frame.
        """
        data = GapData(
            **self._common(occasion),
            missing_from_seq=missing_from_seq,
            missing_frames=missing_frames,
            seconds=seconds,
            policy=policy,
            reason=reason,
        )
        return self._event(
            EventType.STREAM_GAP,
            data,
            occasion,
            sequence=sequence,
            label=reason if position is None else f"{reason}@{position}",
            start_seq=missing_from_seq,
            revision=0,
            happened_ns=occasion.captured_at_ns,
        )

    def of_model_change(self, previous: StreamState, occasion: Occasion, *, position: int) -> Event:
        """The event of this model taking over from another, after the entry at `position`."""
        data = ModelChangedData(
            **self._common(occasion),
            previous_model_id=previous.model_id,
            previous_encoder_id=previous.encoder_id,
        )
        return self._event(
            EventType.MODEL_CHANGED,
            data,
            occasion,
            sequence=previous.sequence,
            label=f"{previous.model_id}@{position}",
            start_seq=previous.next_seq,
            revision=0,
            happened_ns=occasion.captured_at_ns,
        )

    def _common(self, occasion: Occasion) -> dict[str, Any]:
        return {
            "frame": FrameRef(
                epoch=occasion.epoch, seq=occasion.seq, pts_seconds=occasion.pts_seconds
            ),
            "timing": Timing(
                captured_ns=str(occasion.captured_at_ns),
                received_ns=str(occasion.received_at_ns),
                emitted_ns="0",  # set when it is emitted
                clock=occasion.clock,
            ),
            "latency": occasion.latency,
            "pipeline_seconds": occasion.latency.pipeline_seconds,
            "model_id": self._model_id,
            "encoder_id": self._encoder_id,
        }

    def _event(
        self,
        type: EventType,
        data: EventData,
        occasion: Occasion,
        *,
        sequence: int,
        label: str,
        start_seq: int,
        revision: int,
        happened_ns: int,
    ) -> Event:
        return Event(
            id=event_id(
                stream_id=occasion.stream_id,
                epoch=occasion.epoch,
                model_id=self._model_id,
                type=type,
                label=label,
                start_seq=start_seq,
                revision=revision,
            ),
            source=f"/streams/{occasion.stream_id}",
            type=type,
            time=rfc3339(happened_ns),
            sequence=sequence_text(sequence),
            data=data,
        )


def _segment(segment: OpenSegment, *, end: Moment | None, reason: EndReason | None) -> Segment:
    return Segment(
        start_ns=str(segment.start_ns),
        end_ns=None if end is None else str(end[1]),
        start_pts_seconds=segment.start_pts_seconds,
        end_pts_seconds=None if end is None else end[2],
        start_seq=segment.start_seq,
        revision=segment.revision,
        end_reason=reason,
    )
