"""What the log still has of what a reader wants: gaps, and logs that were rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from streamer.client.cursor import START, EntryId
from streamer.core.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping


class GapReason(StrEnum):
    """Why a subscriber can't have everything after its cursor."""

    TRIMMED = "trimmed"
    """The log no longer reaches back to it."""
    RESTARTED = "restarted"
    """Redis lost the entry at it: all its data, or its newest part."""


@dataclass(frozen=True, slots=True)
class LogRange:
    """What the log of a partition has.

    Attributes:
        first: The oldest entry kept; None when it is empty.
        last: The newest entry ever written; `START` before the first.
        trimmed: Whether older entries have been removed.
    """

    first: EntryId | None
    last: EntryId
    trimmed: bool

    @classmethod
    def of(cls, info: Mapping[str, Any] | Exception) -> Self:
        """From the answer to XINFO STREAM.

        Raises:
            TransportError: It is an error, other than that there is no such key yet.
        """
        if isinstance(info, Exception):
            if "no such key" not in str(info):
                raise TransportError(f"Redis: read events: {info}", retryable=False) from info
            return cls(first=None, last=START, trimmed=False)
        first = info["first-entry"]
        return cls(
            first=None if first is None else EntryId.parse(first[0].decode()),
            last=EntryId.parse(info["last-generated-id"].decode()),
            trimmed=int(info["entries-added"]) > int(info["length"]),
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries are, or may be, gone.

    Attributes:
        reason: See `GapReason`.
        after: By partition concerned, where the reader stood.
        oldest: By partition concerned, the oldest entry there still is, if any.
        resume: By partition concerned, where to go on from.
    """

    reason: GapReason
    after: Mapping[int, EntryId]
    oldest: Mapping[int, EntryId]
    resume: Mapping[int, EntryId]


@dataclass(frozen=True, slots=True)
class Rewind:
    """Redis lost the newest entries. What follows may have been delivered before.

    Attributes:
        after: By partition concerned, where the reader stood.
        resume: By partition concerned, the newest entry that it has seen and the log still has.
    """

    after: Mapping[int, EntryId]
    resume: Mapping[int, EntryId]


def find_gap(
    cursor: EntryId, log: LogRange, *, present: bool, is_entry: bool = False
) -> GapReason | None:
    """What is missing between a cursor and the log.

    Entries are only ever removed from the old end, so nothing after an entry that is still there
    is missing. A cursor whose own entry is gone may have missed nothing (it was the last one
    removed): that can't be told, and counts as a gap.

    Args:
        cursor: The last entry a subscriber has, or a time.
        log: The log now.
        present: Whether the entry at `cursor` itself is still in the log.
        is_entry: Whether there was an entry at `cursor`. One that the log should have, and has
            not, was lost with others; if these were written again, it was under other ids.
    """
    if cursor > log.last:
        return GapReason.RESTARTED
    if present or cursor == log.last or (cursor == START and not log.trimmed):
        return None
    if log.trimmed and (log.first is None or cursor < log.first):
        return GapReason.TRIMMED
    return GapReason.RESTARTED if is_entry else None


def seconds_before(now: tuple[int, int], seconds: float) -> EntryId:
    """The place in the log so many seconds ago.

    Args:
        now: The Redis server's time: seconds and microseconds. Entry ids are of its clock.
        seconds: How long ago.
    """
    ms = now[0] * 1000 + now[1] // 1000 - int(seconds * 1000)
    return EntryId(max(0, ms), 0)
