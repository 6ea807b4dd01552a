"""States begun anew, and said so: another model takes over, or what was stored can't be read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamer.core.event import EndReason, GapPolicy, GapReason
from streamer.core.state import Checkpoint, Commit, DeadLetter
from streamer.stages.anomaly import close_anomaly
from streamer.stages.events import EventMaker
from streamer.stages.occasion import Occasion
from streamer.stages.version import next_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.event import Event
    from streamer.core.state import StreamState
    from streamer.stages.anomaly import AnomalyDecision
    from streamer.stages.decision import Decision
    from streamer.stages.temporal import TemporalStage


def change_model(
    stage: TemporalStage,
    before: Checkpoint,
    *,
    phases: Sequence[str],
    actions: Sequence[str],
    row: int,
    now_ns: int,
) -> Commit:
    """The step by which `stage`'s model takes a stream over from another model.

    What was open ends, in the words of the model that saw it. Frames that waited for its look ahead
    are decided by neither model, and a gap says so.

    Args:
        stage: Of the new model.
        before: Where the other one left the stream.
        phases: The other one's labels.
        actions: The other one's labels.
        row: Of the stream from now on: this model may have more rows or fewer.
        now_ns: UTC.
    """
    old = before.state
    occasion = Occasion.before_next_frame(old, at_ns=now_ns)
    maker = EventMaker(
        phases=phases, actions=actions, model_id=old.model_id, encoder_id=old.encoder_id
    )
    at = (old.next_seq - 1 - old.num_waiting, old.last_captured_ns, old.last_pts_seconds)
    _, decisions = stage.decoder.close(old.decoder, at=at, reason=EndReason.MODEL_CHANGED)
    said: list[Decision | AnomalyDecision] = list(decisions)
    said += close_anomaly(old.anomaly, at=at, reason=EndReason.MODEL_CHANGED)
    events = [
        maker.of_decision(decision, occasion, sequence=old.sequence + number)
        for number, decision in enumerate(said)
    ]
    sequence = old.sequence + len(events)
    events.append(
        stage.maker.of_model_change(
            replace(old, sequence=sequence), occasion, position=before.position
        )
    )
    if old.num_waiting:
        events.append(
            stage.maker.of_gap(
                occasion,
                missing_from_seq=at[0] + 1,
                missing_frames=old.num_waiting,
                seconds=old.newest_pts_seconds - old.last_pts_seconds,
                policy=GapPolicy.RESET,
                reason=GapReason.MODEL_CHANGED,
                sequence=sequence + 1,
                position=before.position,
            )
        )
    state = replace(
        stage.initial(old.stream_id, row=row).state,
        epoch=old.epoch,
        next_seq=old.next_seq,
        sequence=old.sequence + len(events),
        last_pts_seconds=old.newest_pts_seconds,
        last_captured_ns=old.newest_captured_ns,
    )
    return _commit(before.version, before.position, state, tuple(events), payload=b"model")


def lose_state(
    stage: TemporalStage,
    stream_id: str,
    *,
    row: int,
    version: bytes,
    position: int,
    sequence: int,
    raw: bytes,
    damage: str,
    now_ns: int,
) -> Commit:
    """The step by which a stream goes on whose stored state can't be read.

    What was open is not known any more: it gets no end but this gap.

    Args:
        stage: Of the model.
        stream_id: Whose state.
        row: Its row from now on.
        version: As stored.
        position: As stored.
        sequence: As stored: number of the next event.
        raw: The bytes that can't be read; they become a dead letter.
        damage: Why.
        now_ns: UTC.
    """
    state = replace(stage.initial(stream_id, row=row).state, sequence=sequence)
    event = stage.maker.of_gap(
        Occasion.before_next_frame(state, at_ns=now_ns),
        missing_from_seq=0,
        missing_frames=0,
        seconds=0.0,
        policy=GapPolicy.RESET,
        reason=GapReason.STATE,
        sequence=sequence,
        position=position,
    )
    letter = DeadLetter(position, GapReason.STATE, damage, raw)
    state = replace(state, sequence=sequence + 1)
    return _commit(version, position, state, (event,), payload=raw, dead_letters=(letter,))


def _commit(
    version: bytes,
    position: int,
    state: StreamState,
    events: tuple[Event, ...],
    *,
    payload: bytes,
    dead_letters: tuple[DeadLetter, ...] = (),
) -> Commit:
    after = Checkpoint(
        state=state,
        position=position,
        version=next_version(version, position, payload, state.model_id, refusal="reset"),
    )
    return Commit(expected=version, checkpoint=after, events=events, dead_letters=dead_letters)
