"""How rarely normal video reaches a score: the tail of block maxima, extrapolated.

A threshold for one false alarm an hour, or a day, is to be found from less video than that. So the
scores are cut into blocks, the tail of the blocks' maxima is fitted by a generalised Pareto
distribution (peaks over threshold: Pickands, 1975; Coles, "An Introduction to Statistical Modeling
of Extreme Values", 2001, chapter 4), and the rate is read off that. Its two parameters are found by
probability-weighted moments (Hosking and Wallis, "Parameter and quantile estimation for the
generalized Pareto distribution", Technometrics 1987), which stay sane for some dozens of values. A
shape below 0, a score that can't be exceeded, is never believed: it is taken for 0, the exponential
tail that squared Gaussian errors have.

How sure that is comes from a bootstrap: blocks drawn again with replacement, fitted again (Efron,
1979).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

TAIL_RATIO = 0.3
"""Part of the blocks whose maxima make the tail."""
MAX_SHAPE = 0.5
"""A heavier tail would have no variance: dozens of values can't show that."""
MIN_SCALE = 1e-3
"""Nats, where all maxima are the same."""
NUM_DRAWS = 400
"""Of the bootstrap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """How rarely block maxima exceed a high score.

    Attributes:
        start: Score above which it holds.
        blocks_per_hour: How many blocks an hour exceed `start`.
        scale: Nats; > 0.
        shape: 0: exponential; above: heavier.
    """

    start: float
    blocks_per_hour: float
    scale: float
    shape: float

    def rate(self, score: float) -> float:
        """Blocks an hour whose maximum is above `score`, for scores of at least `start`."""
        excess = max(0.0, score - self.start) / self.scale
        if self.shape < 1e-6:
            return self.blocks_per_hour * math.exp(-excess)
        return self.blocks_per_hour * math.pow(1 + self.shape * excess, -1 / self.shape)

    def score(self, per_hour: float) -> float:
        """The score that so many blocks an hour exceed; `start` where that is as often or more."""
        ratio = max(1.0, self.blocks_per_hour / per_hour)
        if self.shape < 1e-6:
            return self.start + self.scale * math.log(ratio)
        return self.start + self.scale * (math.pow(ratio, self.shape) - 1) / self.shape


def fit_tail(maxima_N: np.ndarray, *, block_seconds: float) -> Tail:
    """The tail of block maxima.

    Args:
        maxima_N: Of N >= 4 blocks.
        block_seconds: Length of each.
    """
    falling_N = np.sort(maxima_N.astype(np.float64))[::-1]
    num = min(len(falling_N) - 1, max(3, round(TAIL_RATIO * len(falling_N))))
    start = float(falling_N[num])
    excess_E = (falling_N[:num] - start)[::-1]
    mean = float(excess_E.mean())
    # Hosking and Wallis: a1 = E[x (1 - F(x))], at plotting positions (i - 0.35) / n.
    rank_E = (np.arange(1, num + 1) - 0.35) / num
    weighted = float((excess_E * (1 - rank_E)).mean())
    shape = 0.0
    if mean > 2 * weighted > 0:
        shape = min(MAX_SHAPE, max(0.0, 2 - mean / (mean - 2 * weighted)))
    return Tail(
        start=start,
        blocks_per_hour=num / len(falling_N) * 3600 / block_seconds,
        scale=max(MIN_SCALE, mean * (1 - shape)),
        shape=shape,
    )


def sure_rate(
    maxima_N: np.ndarray, score: float, *, block_seconds: float, sureness: float, seed: int = 0
) -> float:
    """How many blocks an hour exceed a score at most, as sure as `sureness`.

    Args:
        maxima_N: Of N >= 4 blocks, taken as independent of each other.
        score: In their tail.
        block_seconds: Length of each.
        sureness: Probability, 0–1, that the rate is no higher, as far as chance in these blocks
            goes.
        seed: Of the drawing.
    """
    random = np.random.default_rng(seed)
    drawn = random.choice(maxima_N, (NUM_DRAWS, len(maxima_N)))
    rates = [fit_tail(row_N, block_seconds=block_seconds).rate(score) for row_N in drawn]
    return float(np.quantile(rates, sureness))
