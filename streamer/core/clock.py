"""Time: where a timestamp comes from, and marks that may be subtracted.

Wall-clock times (nanoseconds since 1970, UTC) say *when*; they are never subtracted to get a
duration. Durations come from `Mark`, a reading of one host's monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ClockSource(StrEnum):
    """What a frame's capture time is taken from."""

    RTCP = "rtcp"
    """The camera's own clock, through RTCP sender reports. No source takes it yet."""
    HOST = "host"
    """The host's clock when the frame's packet was received."""
    FILE = "file"
    """The time the file was opened plus the frame's presentation time."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A reading of a monotonic clock.

    Attributes:
        domain: Names the clock. Processes with the same domain read the same clock.
        ns: Nanoseconds of that clock.
    """

    domain: str
    ns: int

    def seconds_since(self, earlier: Mark, *, otherwise: Mark) -> float:
        """Seconds from `earlier` to here, as far as one clock can tell.

        Args:
            earlier: A mark that may come from another process.
            otherwise: A mark of this process, used when `earlier` is of another clock. The
                result then lacks the time before it (the network's), instead of being wrong.
        """
        start = earlier if earlier.domain == self.domain else otherwise
        return max(0.0, (self.ns - start.ns) * 1e-9)


class Clock(Protocol):
    """The two clocks of a process. Production reads the system's, tests a manual one."""

    def utc_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        ...

    def mark(self) -> Mark:
        """A reading of the host's monotonic clock."""
        ...
