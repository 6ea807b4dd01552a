"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from streamer.core.clock import Mark

START_UTC_NS = 1_767_225_600_000_000_000
"""2026-01-01 00:00 UTC, where a manual clock begins unless told otherwise."""


class ManualClock:
    """Both clocks of a process (`streamer.core.clock.Clock`), moved by hand.

    One thread advances it, any may read it.

    Args:
        utc_ns: Where it begins, nanoseconds since 1970 UTC.
        domain: Names its monotonic clock. Two with different names are of different hosts.
    """

    def __init__(self, *, utc_ns: int = START_UTC_NS, domain: str = "manual") -> None:
        self._start_utc_ns = utc_ns
        self._domain = domain
        self._elapsed_ns = 0

    def utc_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""
        return self._start_utc_ns + self._elapsed_ns

    def mark(self) -> Mark:
        """A reading of the monotonic clock, which began at 0."""
        return Mark(self._domain, self._elapsed_ns)

    def advance(self, seconds: float) -> None:
        """Let that much time pass.

        Raises:
            ValueError: `seconds` is negative: time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"expected at least 0 seconds, found {seconds}")
        self._elapsed_ns += round(seconds * 1e9)
