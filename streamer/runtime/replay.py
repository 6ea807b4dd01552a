"""Events and states recomputed from the features that are kept, bit for bit.

The way goes from anchor to anchor and ends at the checkpoint. What a commit did that the input
does not decide (another model took over, a state was lost) is not recomputed: the next anchor
lies behind it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from streamer.core.clock import Mark
from streamer.core.errors import ConfigError, StateError
from streamer.core.event import rfc3339
from streamer.stages.version import next_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.core.event import Event
    from streamer.core.state import Checkpoint
    from streamer.stages.temporal import TemporalStage
    from streamer.state.history import History
    from streamer.state.store import Stored
    from streamer.transport.transport import LogEntry, Unreadable

MAX_RESETS = 3
"""Resets in a row, without an entry between them, that are recognised."""

ENTRIES_AT_ONCE = 32

_TAKEN = Mark("replay", 0)
"""No process's clock: a replay measures no waiting."""


class Outcome(StrEnum):
    """Where the fold of a stretch arrived."""

    REACHED = "reached"
    """At the version stored."""
    RESET = "reset"
    """At the version from which the state was then begun anew, by another model or after a loss."""
    DIFFERENT = "different"
    """At another version: the input is not the one that was folded in."""
    TRIMMED = "trimmed"
    """Not recomputed: features are no longer kept."""
    OTHER_MODEL = "other_model"
    """Not recomputed: another model's."""
    DAMAGED = "damaged"
    """Not recomputed: the anchor can't be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """From an anchor to the next one, or to the checkpoint.

    Attributes:
        start: The anchor.
        goal: Where it should arrive, as stored.
        outcome: Where it did.
        remark: A line about what is not as usual; empty if all is.
        events: What was recomputed. Their `emitted_ns` is 0: they are not emitted again.
        num_before: How many of them came before the time that was asked for.
        after: Where the fold arrived; None if it was not recomputed.
    """

    start: Stored
    goal: Stored
    outcome: Outcome
    remark: str = ""
    events: tuple[Event, ...] = ()
    num_before: int = 0
    after: Checkpoint | None = None


def replay(history: History, stage: TemporalStage, *, start_us: int = 0) -> Iterator[Stretch]:
    """Recompute a stream's past.

    Args:
        history: What is kept of it.
        stage: Of the bundle, backend and number of rows that the worker has.
        start_us: From when on, by capture time, UTC microseconds; 0: as far back as possible.

    Raises:
        StateError: Nothing is kept to recompute from.
        ConfigError: The stage has fewer rows than the one that made the states.
    """
    if not history.anchors:
        raise StateError(
            f"{history.stream_id}: nothing to replay: no past state is kept; set "
            "redis.replay_seconds to how far back a replay is to reach, and wait for new features"
        )
    places = [anchor.position for anchor in history.anchors]
    first = max(0, bisect_right(places, start_us) - 1)
    goals = (*history.anchors[first + 1 :], history.stored)
    for start, goal in zip(history.anchors[first:], goals, strict=True):
        yield _Walk(history, stage, start, goal).stretch(start_us)


@dataclass(frozen=True, slots=True)
class _Walk:
    """The way over one stretch."""

    history: History
    stage: TemporalStage
    start: Stored
    goal: Stored

    def stretch(self, start_us: int) -> Stretch:
        entries = [
            entry
            for entry in self.history.entries
            if self.start.position < entry.position <= self.goal.position
        ]
        outcome, obstacle = self._obstacle(entries)
        if obstacle:
            remark = f"from {_time(self.start)} to {_time(self.goal)} not recomputed: {obstacle}"
            return Stretch(start=self.start, goal=self.goal, outcome=outcome, remark=remark)
        assert self.start.checkpoint is not None
        split = bisect_right([entry.position for entry in entries], start_us)
        before, checkpoint = self._fold(self.start.checkpoint, entries[:split])
        events, checkpoint = self._fold(checkpoint, entries[split:])
        outcome, remark = self._arrival(checkpoint)
        return Stretch(
            start=self.start,
            goal=self.goal,
            outcome=outcome,
            remark=remark,
            events=(*before, *events),
            num_before=len(before),
            after=checkpoint,
        )

    def _obstacle(self, entries: Sequence[LogEntry | Unreadable]) -> tuple[Outcome, str]:
        """Why the stretch can't be recomputed; empty if it can."""
        state, bundle = self.start.state, self.stage.bundle
        if state is None:
            return Outcome.DAMAGED, self.start.damage
        if state.model_id != bundle.model_id:
            return Outcome.OTHER_MODEL, (
                f"model {state.model_id} made this, and bundle {bundle.config.name} is "
                f"{bundle.model_id}; give the other one with --bundle"
            )
        misfit = self.stage.misfit(state)
        if misfit:
            return Outcome.DAMAGED, misfit
        if state.row >= self.stage.num_rows:
            raise ConfigError(
                f"{self.history.stream_id}: its state has row {state.row}, and temporal.rows is "
                f"{self.stage.num_rows}; set it as the temporal worker has it"
            )
        if not entries or entries[0].position != self.start.position + 1:
            return Outcome.TRIMMED, (
                "its features are no longer kept; they give way when the log is full: raise "
                "redis.max_unread_entries or the server's maxmemory, or lower redis.replay_seconds"
            )
        return Outcome.REACHED, ""

    def _fold(
        self, checkpoint: Checkpoint, entries: Sequence[LogEntry | Unreadable]
    ) -> tuple[list[Event], Checkpoint]:
        events: list[Event] = []
        for at in range(0, len(entries), ENTRIES_AT_ONCE):
            work = [(checkpoint, entries[at : at + ENTRIES_AT_ONCE])]
            (advanced,) = self.stage.advance(work, taken=_TAKEN)
            events += advanced.events
            checkpoint = advanced.after
        return events, checkpoint

    def _arrival(self, reached: Checkpoint) -> tuple[Outcome, str]:
        if reached.version == self.goal.version:
            return Outcome.REACHED, ""
        if self._was_reset(reached):
            number = reached.state.sequence
            return Outcome.RESET, f"sequence {number}: not recomputed: the state was reset here"
        return Outcome.DIFFERENT, (
            f"the input from {_time(self.start)} to {_time(self.goal)} is not what was folded in"
        )

    def _was_reset(self, reached: Checkpoint) -> bool:
        """Whether resets lead from here to the goal: each left its mark in the version."""
        goal, position = self.goal, reached.position
        known = {*self.history.model_ids, self.stage.bundle.model_id}
        if goal.state is not None:
            known.add(goal.state.model_id)
        lost = [raw for at, raw in self.history.lost_states if at == position]
        found = {reached.version}
        for _ in range(MAX_RESETS):
            found = {
                next_version(version, position, payload, model_id, refusal="reset")
                for version in found
                for payload in (b"model", *lost)
                for model_id in known
            }
            if goal.version in found:
                return True
        return False


def _time(stored: Stored) -> str:
    return rfc3339(stored.position * 1000)
