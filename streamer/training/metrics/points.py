"""Point-level average precision: are beginnings announced at the right moment?

Shou et al., "Online Detection of Action Start in Untrimmed, Streaming Videos" (ECCV 2018): a
prediction is a point in time with a label and a confidence. It is right if a beginning of its label
lies within an offset (there 1 to 10 s) that no more confident prediction has taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

OFFSETS_SECONDS = tuple(float(seconds) for seconds in range(1, 11))


@dataclass(frozen=True, slots=True)
class Point:
    """A beginning that was announced.

    Attributes:
        at_seconds: When it was announced: the time of the frame that decided, not the time the
            beginning was then said to have had.
        confidence: Then.
    """

    at_seconds: float
    confidence: float


def right_points(
    said: Sequence[Point], onsets_seconds: Sequence[float], *, offset_seconds: float
) -> np.ndarray:
    """Which points are right, bool (N,): within one video and of one label.

    Points choose in order of confidence, each the nearest onset that is left and near enough.
    """
    right_N = np.zeros(len(said), bool)
    left = list(onsets_seconds)
    for index in sorted(range(len(said)), key=lambda index: -said[index].confidence):
        at = said[index].at_seconds
        nearest = min(left, key=lambda onset: abs(onset - at), default=np.inf)
        if abs(nearest - at) <= offset_seconds:
            left.remove(nearest)
            right_N[index] = True
    return right_N


def point_average_precision(
    confidence_N: np.ndarray,
    right_N: np.ndarray,
    *,
    num_true: float,
    weights_N: np.ndarray | None = None,
) -> float:
    """Area under precision over recall: the mean, over true onsets, of the precision at each.

    An onset that no point found counts 0. Points of the same confidence are taken together.

    Args:
        confidence_N: Of the points of all videos.
        right_N: bool, see `right_points`.
        num_true: True onsets (their weights' sum); 0 gives NaN.
        weights_N: How often each point counts.
    """
    if not num_true:
        return float("nan")
    if not len(confidence_N):
        return 0.0
    weights_N = np.ones(len(right_N)) if weights_N is None else weights_N
    order = np.argsort(-confidence_N, kind="stable")
    right = np.cumsum((weights_N * right_N)[order])
    said = np.cumsum(weights_N[order])
    last = np.append(np.diff(confidence_N[order]) != 0, True)
    right, said = right[last], said[last]
    precision = np.divide(right, said, out=np.zeros_like(right), where=said > 0)
    return float((np.diff(right, prepend=0.0) * precision).sum() / num_true)
