"""Holding frames back until they are due."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamer.core.clock import ClockSource, Mark

if TYPE_CHECKING:
    from threading import Event

    from streamer.core.clock import Clock
    from streamer.sources.reader import AvFrame


class Pacer:
    """Plays frames at the pace of their timestamps, counted from the first one.

    A frame that is held back counts as received that much later, as if a camera had just sent it.
    A reader that is late is not waited for and finds the next frames due at once.

    Args:
        clock: Its monotonic reading sets the pace.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._start_ns: int | None = None

    def hold(self, frame: AvFrame, *, stop: Event) -> AvFrame:
        """Wait until the frame is due, or `stop`. Returns it as received then."""
        now_ns = self._clock.mark().ns
        if self._start_ns is None:
            self._start_ns = now_ns - round(frame.pts_seconds * 1e9)
        early_ns = self._start_ns + round(frame.pts_seconds * 1e9) - now_ns
        if early_ns <= 0:
            return frame
        stop.wait(early_ns * 1e-9)
        live = frame.clock is ClockSource.HOST
        return replace(
            frame,
            received=Mark(frame.received.domain, frame.received.ns + early_ns),
            received_at_ns=frame.received_at_ns + early_ns,
            captured_at_ns=frame.captured_at_ns + (early_ns if live else 0),
        )
