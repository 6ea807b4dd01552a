"""Is what was recomputed what was said? Events and states compared, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from streamer.core.event import encode_event
from streamer.runtime.replay import Outcome
from streamer.transport.state_codec import encode_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.core.event import Event
    from streamer.core.state import Checkpoint, StreamState
    from streamer.runtime.replay import Stretch
    from streamer.state.history import LoggedEvent, LoggedEvents
    from streamer.state.store import Stored

NOT_COMPARED = (
    ("data", "latency", "feature_wait_seconds"),
    ("data", "latency", "temporal_seconds"),
    ("data", "latency", "commit_seconds"),
    ("data", "pipeline_seconds"),
    ("data", "timing", "emitted_ns"),
)
"""Fields of an event that say when it was computed, and how long that took."""

_NONE = "none"
_MAX_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Difference:
    """Where recomputed and stored part.

    Attributes:
        sequence: The event; for a state, the number of the next one.
        field: What differs.
        recomputed: Its value, as text.
        stored: The same.
    """

    sequence: int
    field: str
    recomputed: str
    stored: str

    def __str__(self) -> str:
        return (
            f"sequence {self.sequence}: {self.field}: recomputed {_short(self.recomputed)}, "
            f"stored {_short(self.stored)}"
        )


@dataclass(slots=True)
class Comparison:
    """A stream's comparison, so far up to the first difference.

    Attributes:
        num_events: Events compared.
        first: Number of the first one.
        last: Number of the last one.
        num_states: States compared.
        difference: The first one; None while all is equal.
        remarks: What was left out, and why.
    """

    num_events: int = 0
    first: int | None = None
    last: int | None = None
    num_states: int = 0
    difference: Difference | None = None
    remarks: list[str] = field(default_factory=list)


def verify(stretches: Iterable[Stretch], logged: LoggedEvents) -> Comparison:
    """Compare what a replay gave with the event log and the stored states.

    Args:
        stretches: The replay, from its first stretch to the last.
        logged: The log from the number on that the first stretch starts with.
    """
    made = _Comparer(logged)
    for stretch in stretches:
        made.take(stretch)
        if made.result.difference is not None:
            return made.result
    made.end()
    return made.result


class _Comparer:
    """Walks along the log."""

    def __init__(self, logged: LoggedEvents) -> None:
        self.result = Comparison()
        self._logged = logged.events
        self._at = 0
        self._trimmed = logged.trimmed
        self._num_unlogged = 0

    def take(self, stretch: Stretch) -> None:
        """One stretch: its input, its events, where it arrived."""
        after, goal = stretch.after, stretch.goal
        if stretch.outcome is Outcome.DIFFERENT and after is not None:
            self.result.remarks.append(stretch.remark)
            self._differ(after.state.sequence, "version", after.version.hex(), goal.version.hex())
            return
        if stretch.outcome is Outcome.DAMAGED:
            self._differ(goal.sequence, "anchor", "a state", stretch.remark)
            return
        if stretch.remark:
            self.result.remarks.append(stretch.remark)
        for event in stretch.events:
            self._compare(event)
            if self.result.difference is not None:
                return
        if after is not None:
            self._no_event_before(after.state.sequence)
        if stretch.outcome is Outcome.REACHED and after is not None:
            self._compare_state(after, goal)
        self._pass_over(goal.sequence)

    def end(self) -> None:
        """Nothing may follow."""
        if self._num_unlogged:
            self.result.remarks.append(
                f"{self._num_unlogged} event(s) not compared: the event log no longer has them"
            )
        if self._at < len(self._logged) and self.result.difference is None:
            self._extra(self._logged[self._at])

    def _compare(self, event: Event) -> None:
        number = event.number
        self._no_event_before(number)
        if self.result.difference is not None:
            return
        logged = self._logged[self._at] if self._at < len(self._logged) else None
        if logged is None or logged.number > number:
            if self._trimmed and not self.result.num_events:
                self._num_unlogged += 1
                return
            self._differ(number, "event", f"{event.type} {event.id}", _NONE)
            return
        self._at += 1
        result = self.result
        result.num_events += 1
        result.first = number if result.first is None else result.first
        result.last = number
        found = event_difference(event, logged)
        if found is not None:
            self._differ(number, *found)

    def _no_event_before(self, number: int) -> None:
        if self.result.difference is None and self._at < len(self._logged):
            logged = self._logged[self._at]
            if logged.number < number:
                self._extra(logged)

    def _extra(self, logged: LoggedEvent) -> None:
        self._differ(logged.number, "event", _NONE, f"{logged.type} {logged.id}")

    def _pass_over(self, number: int) -> None:
        """Leave out what was not recomputed."""
        while self._at < len(self._logged) and self._logged[self._at].number < number:
            self._at += 1

    def _compare_state(self, after: Checkpoint, stored: Stored) -> None:
        if self.result.difference is not None:
            return
        self.result.num_states += 1
        sequence = after.state.sequence
        if stored.state is None:
            self._differ(sequence, "state", "a state", stored.damage)
        elif encode_state(after.state) != stored.raw:
            self._differ(sequence, *state_difference(after.state, stored.state))
        elif stored.sequence != sequence:
            self._differ(sequence, "state.sequence", str(sequence), str(stored.sequence))

    def _differ(self, sequence: int, field: str, recomputed: str, stored: str) -> None:
        if self.result.difference is None:
            self.result.difference = Difference(sequence, field, recomputed, stored)


def event_difference(event: Event, logged: LoggedEvent) -> tuple[str, str, str] | None:
    """The first field in which an event and its entry differ, and both values; None if equal."""
    for name, recomputed, stored in (
        ("type field", event.type.value, logged.type),
        ("id field", event.id, logged.id),
    ):
        if recomputed != stored:
            return name, recomputed, stored
    try:
        found = msgspec.json.decode(logged.json)
    except msgspec.MsgspecError as error:
        return "event field", "JSON", f"none ({error})"
    return _tree_difference(msgspec.json.decode(encode_event(event)), found, path=())


def state_difference(recomputed: StreamState, stored: StreamState) -> tuple[str, str, str]:
    """The first field in which two states of different bytes differ, and both values."""
    found = _part_difference(recomputed, stored, path="state")
    return found or ("state's bytes", "as encoded here", "of the same meaning")


def _tree_difference(
    recomputed: Any, stored: Any, *, path: tuple[str, ...]
) -> tuple[str, str, str] | None:
    if path in NOT_COMPARED:
        return None
    if isinstance(recomputed, dict) and isinstance(stored, dict):
        for key in (*recomputed, *(key for key in stored if key not in recomputed)):
            if key not in recomputed or key not in stored:
                inner = (*path, key)
                return ".".join(inner), _json(recomputed, key), _json(stored, key)
            found = _tree_difference(recomputed[key], stored[key], path=(*path, key))
            if found is not None:
                return found
        return None
    # 1 == 1.0 == True, but they are different JSON.
    ours, theirs = msgspec.json.encode(recomputed), msgspec.json.encode(stored)
    return None if ours == theirs else (".".join(path), ours.decode(), theirs.decode())


def _json(tree: dict[str, Any], key: str) -> str:
    return msgspec.json.encode(tree[key]).decode() if key in tree else _NONE


def _part_difference(recomputed: Any, stored: Any, *, path: str) -> tuple[str, str, str] | None:
    if is_dataclass(recomputed) and stored is not None:
        for part in fields(recomputed):
            found = _part_difference(
                getattr(recomputed, part.name),
                getattr(stored, part.name),
                path=f"{path}.{part.name}",
            )
            if found is not None:
                return found
        return None
    if isinstance(recomputed, np.ndarray):
        return _array_difference(recomputed, stored, path=path)
    return None if recomputed == stored else (path, repr(recomputed), repr(stored))


def _array_difference(
    recomputed: np.ndarray, stored: np.ndarray, *, path: str
) -> tuple[str, str, str] | None:
    if recomputed.shape != stored.shape:
        return f"{path}'s shape", str(recomputed.shape), str(stored.shape)
    # By bytes: NaN is itself, and 0 is not -0.
    places = (
        index
        for index in np.ndindex(recomputed.shape)
        if recomputed[index].tobytes() != stored[index].tobytes()
    )
    index = next(places, None)
    if index is None:
        return None
    where = ", ".join(map(str, index))
    return f"{path}[{where}]", repr(recomputed[index].item()), repr(stored[index].item())


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
