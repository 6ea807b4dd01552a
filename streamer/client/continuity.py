"""Repeats and holes, told by the `sequence` that every stream counts its events with."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.core.event import Event

WINDOW = 256
"""Events of a stream remembered, to tell a repeat from a stream that began anew."""


class HoleReason(StrEnum):
    """What a hole is."""

    MISSING = "missing"
    """Numbers of a stream were left out."""
    RESTARTED = "restarted"
    """A stream counts anew: its state was lost, or removed on purpose."""
    LOG_TRIMMED = "log_trimmed"
    """The log no longer reaches back to where the subscriber stood."""
    LOG_RESTARTED = "log_restarted"
    """Redis lost what the subscriber had last, and it is unknown what else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """Events that this subscriber did not get, or may not have got.

    Attributes:
        reason: See `HoleReason`.
        stream_id: The stream; None when it concerns the whole log.
        first_missing: Number of the first missing event, if known.
        count: How many are missing, if known.
    """

    reason: HoleReason
    stream_id: str | None = None
    first_missing: int | None = None
    count: int | None = None


@dataclass(slots=True)
class _Seen:
    next_number: int
    recent: OrderedDict[int, tuple[str, str]] = field(default_factory=OrderedDict)
    rewound: bool = False

    def repeats(self, number: int, identity: tuple[str, str]) -> bool:
        """Whether an event with a number used before is the one that had it."""
        known = self.recent.get(number)
        if known is None and self.rewound and self.recent:
            # Further back than is remembered: then by its time too.
            oldest, (_, time) = next(iter(self.recent.items()))
            return number < oldest and identity[1] <= time
        return known == identity


class Continuity:
    """Follows the numbers of every stream. Must see every type of event: all are counted."""

    def __init__(self) -> None:
        self._streams: dict[str, _Seen] = {}

    def rewind(self) -> None:
        """Events may come again from further back than is remembered."""
        for seen in self._streams.values():
            seen.rewound = True

    def take(self, event: Event) -> tuple[bool, Hole | None]:
        """Whether an event is new, and what is missing before it.

        A repeat has the number, the id and the time of an event seen before. Another event with
        a number used before means that the stream began anew.
        """
        number, identity = event.number, (event.id, event.time)
        seen = self._streams.get(event.stream_id)
        hole = None
        if seen is None:
            seen = self._streams[event.stream_id] = _Seen(number)
        elif number > seen.next_number:
            hole = Hole(
                reason=HoleReason.MISSING,
                stream_id=event.stream_id,
                first_missing=seen.next_number,
                count=number - seen.next_number,
            )
        elif number < seen.next_number:
            if seen.repeats(number, identity):
                return False, None
            seen.recent.clear()
            hole = Hole(reason=HoleReason.RESTARTED, stream_id=event.stream_id)
        seen.rewound = False
        seen.next_number = number + 1
        seen.recent[number] = identity
        if len(seen.recent) > WINDOW:
            seen.recent.popitem(last=False)
        return True, hole
