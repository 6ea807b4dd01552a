"""The filter's few free numbers, by coordinate search on validation clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from streamer.training.delay import DelayPoint, delay_curve, lagged_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from streamer.models.bundle import DecoderConfig, PhaseFilterConfig
    from streamer.training.dataset import Example

SEARCHED: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("evidence_weight", (0.15, 0.25, 0.6, 0.8, 1.0)),
    ("prior_exponent", (0.5, 1.0)),
)
"""In turn: which number, and the values tried beside the one so far; the others stay."""
FIRST_WEIGHT = 0.4
"""Of the evidence, while nothing has been tried."""
SMOOTHING_PERIODS = (1.0,)
"""Time constants tried before the filter, in periods between frames."""
LAG_TOLERANCE = 0.005
"""The lag is the shortest whose score is so close to the best."""


def search_filter(
    chain: PhaseFilterConfig,
    decoder: DecoderConfig,
    examples: Sequence[Example],
    logits: Sequence[np.ndarray],
    *,
    analysis_fps: float,
    max_lag_frames: int,
    lookahead_frames: int = 0,
) -> tuple[PhaseFilterConfig, list[DelayPoint]]:
    """The filter that is best on these clips, and its curve over lags.

    Args:
        chain: From training labels: transitions and durations, which stay as they are.
        decoder: Calibrates; its own filter is not used.
        examples: The validation part.
        logits: float32 (T, C) of each.
        analysis_fps: Frames per second.
        max_lag_frames: The longest lag.
        lookahead_frames: How many frames later than a frame its outputs are known.
    """
    num_phases = len(chain.initial_P)

    def curve(filter: PhaseFilterConfig) -> list[DelayPoint]:
        config = msgspec.structs.replace(decoder, phase_filter=filter)
        labels = [
            lagged_labels(
                config, outputs, example.pts_T, num_phases=num_phases, analysis_fps=analysis_fps
            )
            for example, outputs in zip(examples, logits, strict=True)
        ]
        return delay_curve(examples, labels, lookahead_frames=lookahead_frames)

    smoothing = tuple(periods / analysis_fps for periods in SMOOTHING_PERIODS)
    best = msgspec.structs.replace(chain, evidence_weight=FIRST_WEIGHT, lag_frames=max_lag_frames)
    points = curve(best)
    for name, values in (*SEARCHED, ("smoothing_seconds", smoothing)):
        for value in values:
            rival = msgspec.structs.replace(best, **{name: value})
            found = curve(rival)
            if _worth(found) > _worth(points):
                best, points = rival, found
    lag = shortest_lag(points)
    return msgspec.structs.replace(best, lag_frames=lag), points


def _worth(points: Sequence[DelayPoint]) -> float:
    """Mean over all lags: what is said at once counts as much as what is confirmed."""
    return sum(point.score for point in points) / len(points)


def shortest_lag(points: Sequence[DelayPoint]) -> int:
    """The shortest lag that is about as good as any."""
    enough = max(point.score for point in points) - LAG_TOLERANCE
    return next(point.lag_frames for point in points if point.score >= enough)
