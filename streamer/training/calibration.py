"""Thresholds for anomalies: from scores of normal video to a stated rate of false alarms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.core.errors import ConfigError
from streamer.core.event import EventType, Status
from streamer.core.state import AnomalyState
from streamer.models.anomaly import AnomalyConfig
from streamer.stages.anomaly import AnomalyWatch
from streamer.training.exceedance import fit_tail, sure_rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.stages.anomaly import AnomalyDecision

SMOOTHING_SECONDS = 2.0
"""With the ceiling, it makes alarms of what lasts and not of moments: see
`docs/decisions/2026-11-21-anomaly-scores.md`."""
MIN_ON_SECONDS = 0.5
MIN_OFF_SECONDS = 1.0
WARMUP_SECONDS = 5.0
BLOCK_SECONDS = 8.0
"""Long against the smoothing and against what an alarm lasts, so that blocks are nearly
independent and a block has one alarm at most."""
MIN_BLOCKS = 30
MIN_TAIL_BLOCKS = 10
"""Of many short videos, few have a whole block."""
MAX_EXTRAPOLATION = 50.0
"""How many times longer than the calibration the time between two false alarms may be."""
SURENESS = 0.9
CEILING_RATIOS = (0.995, 0.999, 1.0)
"""The ceiling is the score that so many normal frames stay below: the first that leaves room."""
REACH = 0.7
"""Room: the threshold is at most so far on the way from the median score to the ceiling."""
EXIT_RATIO = 0.5
"""The threshold to leave is so far from the median score to the one to enter."""

MIN_RISE = 0.01
"""Nats: less than this is no difference."""
UNREACHED = 1e30


@dataclass(frozen=True, slots=True)
class ScoreTrack:
    """Scores of a stretch of video.

    Attributes:
        scores_T: float32, nats per dimension, of each frame.
        pts_T: float64, presentation times in seconds.
    """

    scores_T: np.ndarray
    pts_T: np.ndarray

    @property
    def seconds(self) -> float:
        """Its length."""
        return float(self.pts_T[-1] - self.pts_T[0])

    def after(self, seconds: float) -> ScoreTrack:
        """Without its first seconds."""
        kept_T = self.pts_T - self.pts_T[0] >= seconds
        return ScoreTrack(self.scores_T[kept_T], self.pts_T[kept_T])


def needed_seconds(false_alarms_per_hour: float) -> float:
    """The least normal video, in seconds, to calibrate to such a rate."""
    return max(MIN_BLOCKS * BLOCK_SECONDS, 3600 / false_alarms_per_hour / MAX_EXTRAPOLATION)


def calibrate(
    *tracks: ScoreTrack, analysis_fps: float, false_alarms_per_hour: float
) -> tuple[AnomalyConfig, dict[str, Any]]:
    """Find the thresholds.

    Counted are blocks whose smoothed scores reach the threshold: of those, only some become alarms,
    by their minimum duration. The threshold is where the fitted tail gives the stated rate; and if
    the recording itself has more such blocks than the rate allows, it is higher. How sure that is,
    goes into the metrics: a short recording leaves it open by a factor of several.

    Args:
        tracks: Scores of normal videos that the model was not trained on, after their warm-up.
        analysis_fps: Frames per second.
        false_alarms_per_hour: At most so many, on normal video.

    Returns:
        The thresholds, and for `metrics.json` what they rest on.

    Raises:
        ConfigError: The video is too short for that rate.
    """
    needed = needed_seconds(false_alarms_per_hour)
    total_seconds = sum(track.seconds for track in tracks)
    if total_seconds < needed:
        raise ConfigError(
            f"calibration: expected at least {needed / 60:.1f} minutes of normal video for "
            f"{false_alarms_per_hour:g} false alarms per hour, found {total_seconds / 60:.1f}; "
            "record longer, or allow more false alarms"
        )
    allowed = math.floor(false_alarms_per_hour * total_seconds / 3600)
    scores_N = np.concatenate([track.scores_T for track in tracks])
    for ratio in CEILING_RATIOS:
        ceiling = float(np.quantile(scores_N, ratio))
        each = [smooth(track, analysis_fps=analysis_fps, ceiling=ceiling) for track in tracks]
        smoothed_T = np.concatenate(each)
        maxima_N = np.concatenate(
            [block_maxima(one_T, track.pts_T) for one_T, track in zip(each, tracks, strict=True)]
        )
        if len(maxima_N) < MIN_TAIL_BLOCKS:
            raise ConfigError(
                f"calibration: expected videos longer than {BLOCK_SECONDS:g} s, found "
                f"{len(maxima_N)} stretches so long in {len(tracks)} videos"
            )
        tail = fit_tail(maxima_N, block_seconds=BLOCK_SECONDS)
        seen = float(np.sort(maxima_N)[::-1][min(allowed, len(maxima_N) - 1)])
        median = float(np.median(smoothed_T))
        enter = max(tail.score(false_alarms_per_hour), seen + MIN_RISE, median + MIN_RISE)
        if enter - median <= REACH * (ceiling - median):
            break
    config = AnomalyConfig(
        smoothing_seconds=SMOOTHING_SECONDS,
        enter=_round(enter),
        exit=_round(median + EXIT_RATIO * (enter - median)),
        # Above the highest score there was, a ceiling changes nothing that was calibrated.
        ceiling=_round(max(ceiling, median + (enter - median) / REACH)),
        tail_scale=_round(tail.scale),
        min_on_seconds=MIN_ON_SECONDS,
        min_off_seconds=MIN_OFF_SECONDS,
        warmup_seconds=WARMUP_SECONDS,
        false_alarms_per_hour=false_alarms_per_hour,
    )
    hours = total_seconds / 3600
    return config, {
        "calibration_minutes": round(total_seconds / 60, 2),
        "blocks": len(maxima_N),
        "block_seconds": BLOCK_SECONDS,
        "stated_false_alarms_per_hour": false_alarms_per_hour,
        "expected_false_alarms_per_hour": float(f"{tail.rate(config.enter):.3g}"),
        "sureness": SURENESS,
        "sure_false_alarms_per_hour": float(
            f"{sure_rate(maxima_N, enter, block_seconds=BLOCK_SECONDS, sureness=SURENESS):.3g}"
        ),
        "extrapolation": round(1 / (false_alarms_per_hour * hours), 2),
        "tail_scale": round(tail.scale, 4),
        "tail_shape": round(tail.shape, 4),
        "median_score": round(median, 4),
        "highest_score": round(float(smoothed_T.max()), 4),
        "announced_in_calibration": sum(
            count_alarms(config, track, analysis_fps=analysis_fps) for track in tracks
        ),
    }


def smooth(track: ScoreTrack, *, analysis_fps: float, ceiling: float = 2 * UNREACHED) -> np.ndarray:
    """Smoothed scores (T,), as the watch has them."""
    never = AnomalyConfig(
        smoothing_seconds=SMOOTHING_SECONDS,
        enter=-UNREACHED,
        exit=-UNREACHED,
        ceiling=ceiling,
        tail_scale=1.0,
        min_on_seconds=0.0,
        min_off_seconds=0.0,
        warmup_seconds=UNREACHED,
        false_alarms_per_hour=1.0,
    )
    watch = AnomalyWatch(never, analysis_fps=analysis_fps)
    smoothed = []
    for state, _ in _watched(watch, track):
        assert state.smoothed is not None
        smoothed.append(state.smoothed)
    return np.array(smoothed)


def count_alarms(config: AnomalyConfig, track: ScoreTrack, *, analysis_fps: float) -> int:
    """How many anomalies are confirmed in a stretch of video."""
    watch = AnomalyWatch(config, analysis_fps=analysis_fps)
    return sum(
        decision.type is EventType.ANOMALY_START and decision.status is Status.CONFIRMED
        for _, decisions in _watched(watch, track)
        for decision in decisions
    )


def block_maxima(smoothed_T: np.ndarray, pts_T: np.ndarray) -> np.ndarray:
    """The highest of each block's scores. A rest at the end, and empty blocks, are left out."""
    block_T = ((pts_T - pts_T[0]) // BLOCK_SECONDS).astype(int)
    last = int((pts_T[-1] - pts_T[0]) // BLOCK_SECONDS)
    return np.array([smoothed_T[block_T == n].max() for n in range(last) if (block_T == n).any()])


def _watched(
    watch: AnomalyWatch, track: ScoreTrack
) -> Iterator[tuple[AnomalyState, list[AnomalyDecision]]]:
    """The watch's state and decisions, frame by frame, from the beginning of the track."""
    state, before = AnomalyState(), float(track.pts_T[0])
    for seq, (score, pts) in enumerate(
        zip(track.scores_T.tolist(), track.pts_T.tolist(), strict=True)
    ):
        at = (seq, round(pts * 1e9), pts)
        state, decisions = watch.decide(state, score, at=at, step_seconds=pts - before)
        before = pts
        yield state, decisions


def _round(score: float) -> float:
    return round(score, 5)
