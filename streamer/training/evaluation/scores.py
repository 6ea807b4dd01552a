"""Counts of videos → metrics, each under a name of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.training.evaluation.tally import OVERLAPS, segment_sums, take_tally
from streamer.training.metrics.calibration import CalibrationSums
from streamer.training.metrics.frames import ClassScores
from streamer.training.metrics.onsets import delay_quantile
from streamer.training.metrics.points import OFFSETS_SECONDS, point_average_precision
from streamer.training.metrics.ranking import Ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.training.evaluation.tally import Material

SECONDS_PER_HOUR = 3600.0
_SPOKEN = ("announced", "retracted", "flickers", "shown", "true")


class Scorer:
    """Metrics of one kind of labels over videos that may count more than once, or not at all.

    Args:
        materials: Of each video.
        labels: Names of the classes.
    """

    def __init__(self, materials: Sequence[Material], *, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.tallies = [take_tally(material) for material in materials]
        self._exclusive = materials[0].exclusive
        self._counted = sorted(materials[0].counted)
        groups_N = np.repeat(np.arange(len(materials)), [m.known_T.sum() for m in materials])
        scores_NC = np.concatenate([m.probabilities_TC[m.known_T] for m in materials])
        truth_NC = np.concatenate([m.truth_TC[m.known_T] for m in materials])
        self._rankings = [
            Ranking(scores_NC[:, label], truth_NC[:, label], groups_N)
            for label in range(len(self.labels))
        ]

    @property
    def num_videos(self) -> int:
        """V."""
        return len(self.tallies)

    def scores(self, weights_V: np.ndarray) -> dict[str, float]:
        """All metrics, NaN where there is nothing to measure. See `tables.MEANINGS`.

        Args:
            weights_V: How often each video counts.
        """
        return {
            **self._frames(weights_V),
            **self._segments(weights_V),
            **self._onsets(weights_V),
            **self._stability(weights_V),
            **self._probabilities("calibration", weights_V),
            **self._probabilities("raw_calibration", weights_V),
        }

    def calibration(self, name: str, weights_V: np.ndarray) -> CalibrationSums:
        """Sums of all videos. `name`: `calibration` or `raw_calibration`."""
        of_videos = [getattr(tally, name) for tally in self.tallies]
        return CalibrationSums(
            np.tensordot(weights_V, np.stack([one.sums for one in of_videos]), 1),
            np.tensordot(weights_V, np.stack([one.bins_M3 for one in of_videos]), 1),
        )

    def by_label(self) -> dict[str, dict[str, float]]:
        """Scores of each class, over all videos."""
        ones_V = np.ones(self.num_videos)
        frames = ClassScores.of(self._sum("frames_C3", ones_V))
        segments_CK3 = self._sum("segments_CK3", ones_V)
        table = {}
        for label, name in enumerate(self.labels):
            counted = label in self._counted
            f1_K = segment_sums(segments_CK3[label : label + 1])
            curve = self._rankings[label].curve(ones_V)
            table[name] = {
                "precision": float(frames.precision_C[label]),
                "recall": float(frames.recall_C[label]),
                "f1": float(frames.f1_C[label]),
                "jaccard": float(frames.jaccard_C[label]),
                "ap": curve.average_precision,
                "calibrated_ap": curve.calibrated_average_precision,
                "roc_auc": curve.roc_auc,
                **{
                    f"f1_at_{_percent(overlap)}": float(f1) if counted else float("nan")
                    for overlap, f1 in zip(OVERLAPS, f1_K, strict=True)
                },
                "onsets": float(sum(tally.num_true_C[label] for tally in self.tallies)),
            }
        return table

    def _sum(self, name: str, weights_V: np.ndarray) -> np.ndarray:
        stacked = np.stack([getattr(tally, name) for tally in self.tallies])
        return np.asarray(np.tensordot(weights_V, stacked, 1))

    def _mean(self, name: str, weights_V: np.ndarray) -> float:
        values_V = np.array([getattr(tally, name) for tally in self.tallies])
        return float(weights_V @ values_V / weights_V.sum())

    def _frames(self, weights_V: np.ndarray) -> dict[str, float]:
        known, said, shown = self._sum("exact", weights_V).tolist()
        exact_V3 = np.stack([tally.exact for tally in self.tallies])
        with np.errstate(invalid="ignore"):
            each_V = exact_V3[:, 1] / exact_V3[:, 0]
        macro = ClassScores.of(self._sum("frames_C3", weights_V)[self._counted]).macro()
        macro_shown = ClassScores.of(self._sum("shown_C3", weights_V)[self._counted]).macro()
        curves = [self._rankings[label].curve(weights_V) for label in self._counted]
        return {
            "accuracy": _ratio(said, known),
            "accuracy_per_video": _weighted_mean(each_V, weights_V),
            **{f"macro_{name}": value for name, value in macro.items()},
            "map": _mean([one.average_precision for one in curves]),
            "calibrated_map": _mean([one.calibrated_average_precision for one in curves]),
            "roc_auc": _mean([one.roc_auc for one in curves]),
            "shown_accuracy": _ratio(shown, known),
            "shown_macro_f1": macro_shown["f1"],
        }

    def _segments(self, weights_V: np.ndarray) -> dict[str, float]:
        pooled_K = segment_sums(self._sum("segments_CK3", weights_V))
        each_VK = np.stack([segment_sums(tally.segments_CK3) for tally in self.tallies])
        per_video_K = weights_V @ each_VK / weights_V.sum()
        names = [f"f1_at_{_percent(overlap)}" for overlap in OVERLAPS]
        return {
            **({"edit": self._mean("edit", weights_V)} if self._exclusive else {}),
            **dict(zip(names, pooled_K.tolist(), strict=True)),
            **{
                f"{name}_per_video": value
                for name, value in zip(names, per_video_K.tolist(), strict=True)
            },
        }

    def _onsets(self, weights_V: np.ndarray) -> dict[str, float]:
        points_C = [self._point_precisions(label, weights_V) for label in self._counted]
        delays_N = np.concatenate(
            [
                np.repeat(tally.delays_seconds, int(weight))
                for tally, weight in zip(self.tallies, weights_V, strict=True)
            ]
        )
        return {
            **{
                f"point_ap_{offset:g}s": _mean([of_class[k] for of_class in points_C])
                for k, offset in enumerate(OFFSETS_SECONDS)
            },
            "onsets": float(len(delays_N)),
            "onsets_missed_ratio": float(np.isinf(delays_N).mean()) if len(delays_N) else np.nan,
            "onset_delay_median_seconds": delay_quantile(delays_N, 0.5),
            "onset_delay_p95_seconds": delay_quantile(delays_N, 0.95),
        }

    def _point_precisions(self, label: int, weights_V: np.ndarray) -> list[float]:
        """At each offset."""
        num_true = float(weights_V @ np.array([tally.num_true_C[label] for tally in self.tallies]))
        points = [tally.points[label] for tally in self.tallies]
        confidence_N = np.concatenate([confidence for confidence, _ in points])
        right_NO = np.concatenate([right for _, right in points])
        weights_N = np.repeat(weights_V, [len(confidence) for confidence, _ in points])
        return [
            point_average_precision(confidence_N, right_N, num_true=num_true, weights_N=weights_N)
            for right_N in right_NO.T
        ]

    def _stability(self, weights_V: np.ndarray) -> dict[str, float]:
        spoken = dict(zip(_SPOKEN, self._sum("spoken", weights_V).tolist(), strict=True))
        hours = float(self._sum("seconds", weights_V)) / SECONDS_PER_HOUR
        return {
            "false_onsets_per_hour": float(self._sum("false_C", weights_V).sum()) / hours,
            "retracted_per_hour": spoken["retracted"] / hours,
            "retracted_ratio": _ratio(spoken["retracted"], spoken["announced"]),
            "flickers_per_hour": spoken["flickers"] / hours,
            "shown_onsets_ratio": _ratio(spoken["shown"], spoken["true"]),
        }

    def _probabilities(self, name: str, weights_V: np.ndarray) -> dict[str, float]:
        sums = self.calibration(name, weights_V)
        prefix = "raw_" if name.startswith("raw") else ""
        return {
            f"{prefix}ece": sums.ece,
            f"{prefix}nll": sums.nll,
            f"{prefix}brier": sums.brier,
        }


def _percent(overlap: float) -> int:
    return round(100 * overlap)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _mean(values: Sequence[float]) -> float:
    """Over classes that have one."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _weighted_mean(values_V: np.ndarray, weights_V: np.ndarray) -> float:
    """Over videos that have one."""
    known_V = ~np.isnan(values_V)
    return _ratio(float(weights_V[known_V] @ values_V[known_V]), float(weights_V[known_V].sum()))
