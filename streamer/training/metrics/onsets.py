"""When beginnings are noticed: how far off they are said to be, and how long that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.training.metrics.segments import Stretch

MAX_ONSET_ERROR_SECONDS = 2.0
"""An onset further away than this counts as not found."""
TOLERANCE_SECONDS = 1.0
"""How long before its onset, and after its end, an announcement still belongs to a segment."""


def onset_errors(predicted: Sequence[Stretch], truth: Sequence[Stretch]) -> list[float]:
    """Seconds from each true onset to the nearest predicted one of the same label.

    Positive: too late. NaN: none within `MAX_ONSET_ERROR_SECONDS`. The first true segment is left
    out: nobody saw it begin.
    """
    errors = []
    for segment in truth[1:]:
        gaps = [
            other.start_seconds - segment.start_seconds
            for other in predicted
            if other.label == segment.label
        ]
        nearest = min(gaps, key=abs, default=np.inf)
        errors.append(nearest if abs(nearest) <= MAX_ONSET_ERROR_SECONDS else np.nan)
    return errors


@dataclass(frozen=True, slots=True)
class Noticed:
    """Which announcements belong to which true segments.

    Attributes:
        delays_seconds: Per true segment, from its onset to the announcement; infinite: missed.
        num_false: Announcements that belong to none.
    """

    delays_seconds: tuple[float, ...]
    num_false: int


def noticed(said_seconds: Sequence[float], truth: Sequence[Stretch]) -> Noticed:
    """Announcements of one label dealt out to its true segments, one each, in order of time.

    Args:
        said_seconds: When the label was announced.
        truth: Its segments.
    """
    waiting = sorted(said_seconds)
    delays = []
    for segment in sorted(truth, key=lambda segment: segment.start_seconds):
        first = segment.start_seconds - TOLERANCE_SECONDS
        last = segment.end_seconds + TOLERANCE_SECONDS
        found = next((at for at in waiting if first <= at <= last), None)
        if found is not None:
            waiting.remove(found)
        delays.append(np.inf if found is None else found - segment.start_seconds)
    return Noticed(tuple(delays), len(waiting))


def delay_quantile(delays_N: np.ndarray, part: float) -> float:
    """The delay that `part` of the onsets do not exceed, misses being infinite; NaN of none.

    An order statistic (the inverse of the distribution function), not an interpolation: between a
    delay and a miss there is nothing.
    """
    if not len(delays_N):
        return float("nan")
    return float(np.quantile(delays_N, part, method="inverted_cdf"))
