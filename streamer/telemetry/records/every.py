"""Records of every role that has streams: its share of them, and what it can't use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeasesChanged:
    """Which shares of the work this worker has.

    Attributes:
        what: `partitions` or `streams`.
        gained: How many it has taken.
        lost: How many it has given back, or lost.
        held: How many it has now.
    """

    what: str
    gained: int
    lost: int
    held: int


@dataclass(frozen=True, slots=True)
class InputRefused:
    """An entry is unusable.

    Attributes:
        stream_id: Whose.
        reason: A word.
        detail: A line for people.
    """

    stream_id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class StreamTakenUp:
    """A stream is this worker's from now on.

    Attributes:
        stream_id: The camera.
        phase: The confirmed phase it is in, where that is known.
    """

    stream_id: str
    phase: str | None = None


@dataclass(frozen=True, slots=True)
class StreamReleased:
    """A stream is no longer this worker's: it was removed, or another has it."""

    stream_id: str
