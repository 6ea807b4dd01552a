"""What waiting is worth: how good phases are when confirmed at each lag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from streamer.stages.decode import Decoder
from streamer.stages.phase_filter import PhaseFilter
from streamer.stages.smoothing import smooth
from streamer.training.decoding import Decoded
from streamer.training.evaluate import phase_metrics
from streamer.training.metrics import stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.models.bundle import DecoderConfig
    from streamer.training.dataset import Example
    from streamer.training.metrics import Stretch

MIN_OVERLAP = 0.1
"""Of a true segment and the one that is said, for an onset to count as found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayPoint:
    """Phases confirmed at one lag. Scores from 0 to 1.

    Attributes:
        lag_frames: The lag.
        onset_delay_seconds: From a true onset to the frame that confirms it, median; None if none
            was found.
        accuracy: Part of the frames.
        edit: Edit score.
        f1_at_10: Segmental F1 at 10 % overlap.
        f1_at_25: At 25 %.
        f1_at_50: At 50 %.
    """

    lag_frames: int
    onset_delay_seconds: float | None
    accuracy: float
    edit: float
    f1_at_10: float
    f1_at_25: float
    f1_at_50: float

    @property
    def score(self) -> float:
        """Mean of accuracy, edit score and the three F1."""
        return (self.accuracy + self.edit + self.f1_at_10 + self.f1_at_25 + self.f1_at_50) / 5


def lagged_labels(
    config: DecoderConfig,
    logits_TC: np.ndarray,
    pts_T: np.ndarray,
    *,
    num_phases: int,
    analysis_fps: float,
) -> np.ndarray:
    """The phase of each frame as confirmed at every lag up to the filter's, int64 (lags, T).

    Row 0 is the filter's own word. Frames that the clip ends too early for have the last confirmed
    phase, as an open segment would; -1 if there is none.
    """
    assert config.phase_filter is not None
    num_actions = logits_TC.shape[1] - num_phases
    decoder = Decoder(
        config, num_phases=num_phases, num_actions=num_actions, analysis_fps=analysis_fps
    )
    smoothed_TP = np.empty((len(pts_T), num_phases), np.float32)
    smoothed_P, before = np.full(num_phases, np.nan, np.float32), float(pts_T[0])
    for t, pts in enumerate(pts_T.tolist()):
        smoothed_P = smooth(
            smoothed_P,
            decoder.probabilities(logits_TC[t])[:num_phases],
            step_seconds=pts - before,
            tau_seconds=config.phase_filter.smoothing_seconds,
        )
        smoothed_TP[t], before = smoothed_P, pts
    phase_filter = PhaseFilter(config.phase_filter, analysis_fps=analysis_fps)
    if config.phase_filter.forbids:
        # What is confirmed decides what may follow, so that each lag is a way of its own.
        labels_LT = np.stack(
            [
                _confirmed(
                    PhaseFilter(
                        msgspec.structs.replace(config.phase_filter, lag_frames=lag),
                        analysis_fps=analysis_fps,
                    ),
                    smoothed_TP,
                    pts_T,
                    lag,
                )
                for lag in range(config.phase_filter.lag_frames + 1)
            ]
        )
    else:
        labels_LT = _said(phase_filter, smoothed_TP, pts_T, config.phase_filter.lag_frames)
    for lag in range(1, len(labels_LT)):
        if lag < len(pts_T):
            labels_LT[lag, len(pts_T) - lag :] = labels_LT[lag, len(pts_T) - lag - 1]
    return labels_LT


def _said(
    phase_filter: PhaseFilter, smoothed_TP: np.ndarray, pts_T: np.ndarray, max_lag: int
) -> np.ndarray:
    """Most probable phases at every lag, (lags, T); -1 where the clip ends too early."""
    labels_LT = np.full((max_lag + 1, len(pts_T)), -1)
    state = phase_filter.initial()
    for t, pts in enumerate(pts_T.tolist()):
        state, chances_WP = phase_filter.advance(state, smoothed_TP[t], at=(t, 0, pts))
        newest_first = chances_WP[::-1].argmax(axis=1)
        lags = np.arange(len(newest_first))
        labels_LT[lags, t - lags] = newest_first
    return labels_LT


def _confirmed(
    phase_filter: PhaseFilter, smoothed_TP: np.ndarray, pts_T: np.ndarray, lag: int
) -> np.ndarray:
    """Phases (T,) as confirmed at the filter's own lag; -1 where the clip ends too early."""
    labels_T = np.full(len(pts_T), -1)
    state, confirmed = phase_filter.initial(), None
    for t, pts in enumerate(pts_T.tolist()):
        state, chances_WP = phase_filter.advance(
            state, smoothed_TP[t], at=(t, 0, pts), confirmed=confirmed
        )
        if phase_filter.is_full(state):
            confirmed = labels_T[t - lag] = int(chances_WP[0].argmax())
    return labels_T


def delay_curve(
    examples: Sequence[Example], labels: Sequence[np.ndarray], *, lookahead_frames: int = 0
) -> list[DelayPoint]:
    """A point for each lag.

    Args:
        examples: Clips.
        labels: Of each, what `lagged_labels` gives.
        lookahead_frames: How many frames later than a frame its outputs are known: the delay of an
            onset includes them, the lag does not.
    """
    return [
        _point(examples, [labels_LT[lag] for labels_LT in labels], lag, lookahead_frames)
        for lag in range(len(labels[0]))
    ]


def _point(
    examples: Sequence[Example], labels: Sequence[np.ndarray], lag: int, lookahead_frames: int
) -> DelayPoint:
    decoded, delays = [], []
    for example, labels_T in zip(examples, labels, strict=True):
        said = stretches(labels_T, example.pts_T)
        decoded.append(Decoded(said, [], [], 0))
        truth = stretches(example.phases_T, example.pts_T)
        delays += onset_delays(said, truth, example.pts_T, lag + lookahead_frames)
    metrics = phase_metrics(examples, decoded)
    return DelayPoint(
        lag_frames=lag,
        onset_delay_seconds=round(float(np.median(delays)), 4) if delays else None,
        accuracy=metrics["frame_accuracy"],
        edit=metrics["edit"],
        f1_at_10=metrics["f1_at_10"],
        f1_at_25=metrics["f1_at_25"],
        f1_at_50=metrics["f1_at_50"],
    )


def onset_delays(
    said: Sequence[Stretch], truth: Sequence[Stretch], pts_T: np.ndarray, lag_frames: int
) -> list[float]:
    """Seconds from each true onset to the frame that confirms it, where it was found.

    The first true segment is left out: nobody saw it begin.
    """
    delays = []
    for segment in truth[1:]:
        best = max(said, key=segment.overlap, default=None)
        if best is not None and segment.overlap(best) >= MIN_OVERLAP:
            frame = int(np.searchsorted(pts_T, best.start_seconds)) + lag_frames
            delays.append(float(pts_T[min(frame, len(pts_T) - 1)]) - segment.start_seconds)
    return delays
