"""Whether a run went as it should: by the fold, and by a subscriber."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from streamer.core.event import decode_event, encode_event
from tests.faults.disturbances import ROLLBACKS, Disturbance
from tests.faults.evidence import encoded
from tests.faults.oracle import (
    check_admitted,
    check_sequences,
    compare_events,
    compare_states,
    fold_offline,
    timeless,
)
from tests.faults.streams import CAMERA, FILM

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.faults.evidence import Evidence
    from tests.faults.model import FaultModel
    from tests.faults.scenario import Scenario
    from tests.faults.subscriber import LiveSubscriber


def judge(
    evidence: Evidence, model: FaultModel, *, injected: Collection[tuple[str, int]] = ()
) -> tuple[list[str], int]:
    """The log, the states and the input, judged by the fold.

    Args:
        evidence: What the run left.
        model: That it ran.
        injected: Stream and position of entries that are no encoder's.

    Returns:
        What is wrong, and the frames that cameras lost.
    """
    rows = {stream_id: stored.row for stream_id, stored in evidence.stored.items()}
    wrong, holes = check_admitted(encoded(evidence, injected))
    lost = [
        f"{hole.stream_id}: {hole.num_frames} frames from {hole.first_seq} of epoch "
        f"{hole.epoch} are missing, and a file's frames must not be"
        for hole in holes
        if hole.stream_id.startswith(FILM)
    ]
    dropped = sum(hole.num_frames for hole in holes if hole.stream_id.startswith(CAMERA))
    if wrong:
        return [*map(str, wrong), *lost], dropped  # the fold would stumble over it
    folded = fold_offline(model.bundle, evidence.entries, rows=rows)
    wrong += compare_events(evidence.events, folded)
    wrong += compare_states(evidence.stored, folded)
    wrong += check_sequences(evidence.events)
    return [*map(str, wrong), *lost], dropped


def judge_subscriber(
    subscriber: LiveSubscriber, evidence: Evidence, scenario: Scenario
) -> list[str]:
    """What a subscriber saw as it happened, against what one sees who comes late."""
    if subscriber.failure is not None:
        return [f"subscriber: {subscriber.failure!r}"]
    odd = check_sequences(subscriber.events)
    moved = {Disturbance.KILL, Disturbance.STOP, Disturbance.WIRE} & set(scenario.kinds)
    if ROLLBACKS & set(scenario.kinds) and moved:
        # What was undone may be said again in other words, if its author was killed or shut out,
        # as by a call that hung for longer than the lease. Whoever has seen both is told.
        told = {hole.stream_id for hole in subscriber.holes}
        return [f"subscriber: not told: {one}" for one in odd if one.stream_id not in told]
    wrong = [f"subscriber: {one}" for one in odd]
    late = Counter(map(_essence, evidence.events))
    live = Counter(map(_essence, subscriber.events))
    wrong += [f"subscriber: never saw {raw[:160]!r}" for raw in late - live]
    wrong += [f"subscriber: saw {raw[:160]!r}, which is not in the log" for raw in live - late]
    wrong += [f"subscriber: told of a hole: {hole}" for hole in subscriber.holes]
    return wrong


def _essence(raw: bytes) -> bytes:
    return encode_event(timeless(decode_event(raw)))
