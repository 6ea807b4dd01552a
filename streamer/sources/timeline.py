"""Presentation times of one opening: from 0, strictly increasing, whatever the source says."""

from __future__ import annotations

_NUDGE_SECONDS = 1e-3
"""By how much a frame follows one that claims the same or a later time."""
_TOLERATED_IN_A_ROW = 2
"""So many frames in a row may be out of order before the timestamps count as broken."""
_MAX_LIVE_JUMP_SECONDS = 5.0
"""A live source may jump this much further than the host's clock before it counts as broken."""


class Timeline:
    """Turns a source's timestamps into `pts_seconds`.

    - The first frame is at 0; later ones keep the source's own distances, so variable rates stay.
    - A missing time is derived: from the rate of a recording, from the receipt of a live frame.
    - A frame that claims no later time than the one before comes 1 ms after it. The third such
      frame in a row shows that the timestamps are broken or began anew (a camera set its clock):
      its time is derived, and the times after it count from there.
    - A live source that leaps ahead of the host's clock by more than 5 s is treated likewise.

    Args:
        frame_seconds: Distance of frames where nothing else tells: 1 / the nominal rate.
        live: Whether receipt times say something about the picture.
    """

    def __init__(self, *, frame_seconds: float, live: bool) -> None:
        self._frame_seconds = frame_seconds
        self._live = live
        self._offset_seconds: float | None = None
        self._last_seconds: float | None = None
        self._last_received_ns = 0
        self._num_unordered = 0

    def place(self, stamp_seconds: float | None, *, received_ns: int) -> float:
        """Presentation time of the next frame.

        Args:
            stamp_seconds: What the source says; None if nothing.
            received_ns: Receipt, on a monotonic clock.
        """
        if self._last_seconds is None:
            placed = 0.0
            self._offset_seconds = stamp_seconds
        else:
            placed = self._next(stamp_seconds, last=self._last_seconds, received_ns=received_ns)
        self._last_seconds = placed
        self._last_received_ns = received_ns
        return placed

    def _next(self, stamp_seconds: float | None, *, last: float, received_ns: int) -> float:
        elapsed_seconds = max(0.0, (received_ns - self._last_received_ns) * 1e-9)
        distance = max(elapsed_seconds if self._live else self._frame_seconds, _NUDGE_SECONDS)
        if stamp_seconds is None:
            return last + distance
        if self._offset_seconds is None:
            self._offset_seconds = stamp_seconds - (last + distance)
        placed = stamp_seconds - self._offset_seconds
        if placed <= last:
            self._num_unordered += 1
            if self._num_unordered <= _TOLERATED_IN_A_ROW:
                return last + _NUDGE_SECONDS
            return self._restart(stamp_seconds, at=last + distance)
        if self._live and placed - last > elapsed_seconds + _MAX_LIVE_JUMP_SECONDS:
            return self._restart(stamp_seconds, at=last + distance)
        self._num_unordered = 0
        return placed

    def _restart(self, stamp_seconds: float, *, at: float) -> float:
        self._offset_seconds = stamp_seconds - at
        return at
