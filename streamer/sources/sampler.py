"""Which frames are analysed."""

from __future__ import annotations

import math

from streamer.core.errors import ConfigError


class Sampler:
    """Picks frames by their timestamps, at most `analysis_fps` a second.

    A grid of 1 / `analysis_fps` begins at the first frame. Each frame belongs to the nearest grid
    point, and the first frame of each point is taken. The grid never shifts, so jitter does not
    add up; after a gap there is no burst; a source no faster than `analysis_fps` passes whole
    as long as its jitter stays below half a period. k taken frames span at least k - 2 periods.

    Args:
        analysis_fps: Frames per second, above 0.

    Raises:
        ConfigError: `analysis_fps` is not a positive number.
    """

    def __init__(self, analysis_fps: float) -> None:
        if not (math.isfinite(analysis_fps) and analysis_fps > 0):
            raise ConfigError(
                f"analysis_fps: expected a number above 0, found {analysis_fps}; "
                "10 suits most scenes"
            )
        self._analysis_fps = analysis_fps
        self._first_seconds: float | None = None
        self._last_point = -1

    def take(self, pts_seconds: float) -> bool:
        """Whether to analyse the frame of this time.

        Args:
            pts_seconds: Increasing from call to call.
        """
        if self._first_seconds is None:
            self._first_seconds = pts_seconds
        elapsed_periods = (pts_seconds - self._first_seconds) * self._analysis_fps
        point = math.floor(elapsed_periods + 0.5)
        if point <= self._last_point:
            return False
        self._last_point = point
        return True
