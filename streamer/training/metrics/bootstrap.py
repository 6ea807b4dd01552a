"""How sure a score is: the bootstrap over videos.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13: percentile intervals.
Videos are drawn, not frames: frames of one video resemble each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LEVEL = 0.95
NUM_RESAMPLES = 1000


def bootstrap(
    scores: Callable[[np.ndarray], Mapping[str, float]],
    *,
    num_videos: int,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of scores.

    A score that is infinite in some resamples may have an infinite bound; resamples in which it is
    NaN say nothing and are left out.

    Args:
        scores: From how often each video counts, float64 (V,), to scores by name.
        num_videos: V. Fewer than two give no intervals.
        seed: Of all chance.
        num_resamples: How often V videos are drawn with replacement.

    Returns:
        (low, high) by name.
    """
    if num_videos < 2:
        return {}
    random = np.random.default_rng(seed)
    draws_RV = random.multinomial(num_videos, np.full(num_videos, 1 / num_videos), num_resamples)
    drawn = [scores(weights_V.astype(np.float64)) for weights_V in draws_RV]
    return {name: _interval(np.array([sample[name] for sample in drawn])) for name in drawn[0]}


def _interval(values_R: np.ndarray) -> tuple[float, float]:
    values_R = values_R[~np.isnan(values_R)]
    if not len(values_R):
        return float("nan"), float("nan")
    low, high = np.quantile(
        values_R, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), method="inverted_cdf"
    ).tolist()
    return low, high
