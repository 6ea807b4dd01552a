"""Places in the event log: where a subscriber stands, and what the log still has of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from streamer.core.errors import ConfigError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENTRY_ID = re.compile(r"(?P<ms>[0-9]{1,20})(-(?P<serial>[0-9]{1,20}))?")
_DURATION = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,9})?)(?P<unit>ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MAX_PART = 2**64 - 1


class EntryId(NamedTuple):
    """The id of an entry of the event log; they sort by time.

    Attributes:
        ms: Milliseconds since 1970, by the Redis server's clock.
        serial: Tells entries of one millisecond apart.
    """

    ms: int
    serial: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.serial}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The id that `text` is: `1767225600000-0`, or without the serial.

        Raises:
            ConfigError: It is none.
        """
        match = _ENTRY_ID.fullmatch(text)
        parts = (int(match["ms"]), int(match["serial"] or 0)) if match else (_MAX_PART + 1, 0)
        if max(parts) > _MAX_PART:
            raise ConfigError(f"expected an entry id such as 1767225600000-0, found {text!r}")
        return cls(*parts)


START = EntryId(0, 0)
"""Before the first entry."""


def parse_since(text: str) -> EntryId | float:
    """Where to begin: after an entry, or so many seconds ago.

    Args:
        text: An entry id (`0` is the oldest entry kept), or a duration such as `90s` or `10m`
            (`ms`, `s`, `m`, `h`, `d`).

    Raises:
        ConfigError: It is neither.
    """
    match = _DURATION.fullmatch(text)
    if match:
        return float(match["number"]) * _UNIT_SECONDS[match["unit"]]
    try:
        return EntryId.parse(text)
    except ConfigError:
        raise ConfigError(
            f"since: expected a duration such as 10m or an entry id such as 1767225600000-0, "
            f"found {text!r}"
        ) from None


class GapReason(StrEnum):
    """Why a subscriber can't have everything after its cursor."""

    TRIMMED = "trimmed"
    """The log no longer reaches back to it."""
    RESTARTED = "restarted"
    """The log ends before it: Redis lost its data, or its newest part."""


@dataclass(frozen=True, slots=True)
class LogRange:
    """What the log has.

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
    """Entries after a cursor are gone.

    Attributes:
        reason: See `GapReason`.
        after: The cursor.
        oldest: The oldest entry there still is; None if there is none.
        resume: Where to go on from.
    """

    reason: GapReason
    after: EntryId
    oldest: EntryId | None
    resume: EntryId


def find_gap(cursor: EntryId, log: LogRange, *, present: bool) -> Gap | None:
    """What is missing between a cursor and the log.

    Entries are only ever removed from the old end, so nothing after an entry that is still there
    is missing. A cursor whose own entry is gone may have missed nothing (it was the last one
    removed): that can't be told, and counts as a gap.

    Args:
        cursor: The last entry a subscriber has, or a time.
        log: The log now.
        present: Whether the entry at `cursor` itself is still in the log.
    """
    if cursor > log.last:
        return Gap(GapReason.RESTARTED, cursor, log.first, log.last)
    reaches_back = present or not log.trimmed or (log.first is not None and log.first <= cursor)
    if reaches_back or cursor == log.last:
        return None
    return Gap(GapReason.TRIMMED, cursor, log.first, cursor)


def seconds_before(now: tuple[int, int], seconds: float, log: LogRange) -> EntryId:
    """The place in the log so many seconds ago.

    Args:
        now: The Redis server's time: seconds and microseconds. Entry ids are of its clock.
        seconds: How long ago.
        log: The log now. A time after its last entry becomes that entry: nothing is missing.
    """
    ms = now[0] * 1000 + now[1] // 1000 - int(seconds * 1000)
    return min(EntryId(max(0, ms), 0), log.last)
