"""A reader's way through one partition: its place, and the entries that it came by."""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING

from streamer.client.gap import GapReason, find_gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streamer.client.cursor import EntryId
    from streamer.client.gap import LogRange
    from streamer.client.log import LoggedEvent

REMEMBERED = 1024
"""Entries of a partition. A log rolled back by more can only be read from its start."""


class Verdict(Enum):
    """What a look at the log says of a place."""

    GOOD = auto()
    """What follows it in the log is what follows it."""
    TRIMMED = auto()
    """Older entries were removed, and it with them."""
    LOST = auto()
    """It was no entry that is remembered, and the log ends before it."""
    ROLLED_BACK = auto()
    """The entry there should be in the log, and is not: Redis lost it, and others with it."""


class Track:
    """Follows one partition. Entries are told by id and content: an id can be given twice.

    Args:
        place: Where it begins.
        before: Entries up to there, in order.
        from_start: Whether these are all there ever were.
    """

    def __init__(
        self, place: EntryId, before: Iterable[LoggedEvent] = (), *, from_start: bool
    ) -> None:
        self.place = place
        self.begun_at = place
        self.from_start = from_start
        self._seen = deque(((event.id, hash(event.json)) for event in before), REMEMBERED)

    def take(self, event: LoggedEvent) -> None:
        """Go on by one entry."""
        self.place = event.id
        self._seen.append((event.id, hash(event.json)))

    def judge(self, newest: LoggedEvent | None, log: LogRange) -> Verdict:
        """What has become of the place.

        Args:
            newest: The newest entry up to there that the log has.
            log: What the log has.
        """
        is_entry = bool(self._seen) and self._seen[-1][0] == self.place
        present = newest is not None and newest.id == self.place
        if present and is_entry:
            assert newest is not None
            if self._seen[-1][1] != hash(newest.json):
                return Verdict.ROLLED_BACK  # another entry was given its id
        match find_gap(self.place, log, present=present, is_entry=is_entry):
            case None:
                return Verdict.GOOD
            case GapReason.TRIMMED:
                return Verdict.TRIMMED
            case GapReason.RESTARTED:
                return Verdict.ROLLED_BACK if is_entry else Verdict.LOST

    def knows(self, event: LoggedEvent) -> bool:
        """Whether it is an entry that it came by."""
        return (event.id, hash(event.json)) in self._seen

    def back(self, *, step: int) -> Iterator[list[EntryId]]:
        """The entries remembered, newest first, so many at a time."""
        ids = [entry_id for entry_id, _ in reversed(self._seen)]
        for at in range(0, len(ids), step):
            yield ids[at : at + step]

    def rewind(self, place: EntryId) -> None:
        """Go back to an entry, and forget those after it."""
        while self._seen and self._seen[-1][0] > place:
            self._seen.pop()
        self.place = place
