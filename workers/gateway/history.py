"""The past, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.client.cursor import END, Cursor
from streamer.client.follower import Follower
from streamer.client.gap import Gap, seconds_before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.client.cursor import EntryId
    from streamer.client.filter import EventFilter
    from streamer.client.log import EventLog, LoggedEvent

MAX_SCANNED = 20_000
"""Entries looked at for one page. A page may be short, and even empty, before the end."""

_COUNT = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the past.

    Attributes:
        events: By time of their commit, those of a partition in its order.
        next: Where the next page begins; None at the end.
        gaps: What is missing before them, if the log no longer has it.
    """

    events: list[LoggedEvent]
    next: Cursor | None
    gaps: list[Gap]


def read_page(
    log: EventLog,
    *,
    after: Cursor | float | None,
    until: Cursor | float | None,
    wanted: EventFilter,
    limit: int,
    is_entry: bool,
) -> Page:
    """Read one page.

    Args:
        log: What is read; knows P after this.
        after: Begin after this place, so many seconds ago, or with the oldest entry kept.
        until: End at this place, so many seconds ago, or now.
        wanted: Which events.
        limit: Most events of the page.
        is_entry: Whether `after` is what a page before gave.

    Raises:
        TransportError: Redis is away, or what stands there are no events.
    """
    follower = Follower(log)
    gaps = follower.begin(Cursor() if after is None else after, is_entry=is_entry)
    places = follower.places
    ends = _ends(log, until, places)
    events: list[LoggedEvent] = []
    scanned = 0
    while scanned < MAX_SCANNED:
        ready, whole = _merged(log, places, ends)
        for event in ready:
            places[event.partition] = event.id
            scanned += 1
            if wanted.takes(event):
                events.append(event)
                if len(events) == limit:
                    break
        if len(events) == limit:
            break
        if whole:
            return Page(events, None, [] if after is None else gaps)
    next = Cursor.of(places, num_partitions=log.num_partitions)
    return Page(events, next, [] if after is None else gaps)


def _ends(
    log: EventLog, until: Cursor | float | None, places: Mapping[int, EntryId]
) -> dict[int, EntryId]:
    match until:
        case None:
            return dict.fromkeys(places, END)
        case Cursor():
            return {at: until[at] for at in places}
        case seconds:
            return dict.fromkeys(places, seconds_before(log.now(), seconds))


def _merged(
    log: EventLog, places: Mapping[int, EntryId], ends: Mapping[int, EntryId]
) -> tuple[list[LoggedEvent], bool]:
    """The next entries of all partitions in one order, and whether these were all."""
    count = max(1, _COUNT // len(places))
    rows = log.between(places, ends, count=count)
    # A partition may have more after its last one here: what is later waits for them.
    horizon = min((found[-1].id for found in rows.values() if len(found) == count), default=END)
    ready = [event for found in rows.values() for event in found if event.id <= horizon]
    return sorted(ready, key=lambda event: event.id), horizon == END
