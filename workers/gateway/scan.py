"""Which segments were open at a place in the log, read backwards from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.client.segments import SegmentsBefore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.client.cursor import EntryId
    from streamer.client.log import EventLog

MAX_SCANNED = 500_000
"""Entries, of all partitions together. What opened before them is not known."""

PAGE = 1_000


def segments_before(log: EventLog, places: Mapping[int, EntryId]) -> SegmentsBefore:
    """Read back from these places. Takes seconds for a long log; done at the start only.

    Raises:
        TransportError: Redis is away, or what stands there are no events.
    """
    found = SegmentsBefore()
    ends = dict(places)
    num_left = MAX_SCANNED
    while ends and num_left > 0:
        for at, rows in log.back(ends, count=max(1, PAGE // len(ends))).items():
            for event in rows:
                found.take(event)
            num_left -= len(rows)
            if rows:
                ends[at] = rows[-1].id.before
            else:
                del ends[at]
    return found
