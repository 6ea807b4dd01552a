"""How well scores put a class's frames before all others: AP, calibrated AP and ROC-AUC.

scikit-learn has the first and the last. Here the frames are sorted once, and then weighed anew for
each resample of a bootstrap, which is what takes the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class Ranking:
    """Frames of one class, by falling score. Equal scores are taken together.

    Args:
        scores_N: A score of each frame.
        positive_N: bool, where the class holds.
        groups_N: int, the video of each frame: index into the weights.
    """

    def __init__(self, scores_N: np.ndarray, positive_N: np.ndarray, groups_N: np.ndarray) -> None:
        order = np.argsort(-scores_N, kind="stable")
        self._positive_N = positive_N[order].astype(np.float64)
        self._groups_N = groups_N[order]
        self._last = np.flatnonzero(np.diff(scores_N[order], append=np.inf))

    def curve(self, weights_V: np.ndarray) -> Curve:
        """The curve of all thresholds.

        Args:
            weights_V: How often each video counts.
        """
        weights_N = np.asarray(weights_V, np.float64)[self._groups_N]
        right = np.cumsum(weights_N * self._positive_N)
        return Curve(right[self._last], (np.cumsum(weights_N) - right)[self._last])


@dataclass(frozen=True, slots=True)
class Curve:
    """Positives and negatives at or above each score, float64 (K,), by falling score."""

    right_K: np.ndarray
    wrong_K: np.ndarray

    @property
    def average_precision(self) -> float:
        """The sum over thresholds of (gain of recall) x precision; NaN without positives."""
        if not len(self.right_K) or not self.right_K[-1]:
            return float("nan")
        said_K = self.right_K + self.wrong_K
        precision_K = np.divide(self.right_K, said_K, out=np.zeros_like(said_K), where=said_K > 0)
        gains_K = np.diff(self.right_K, prepend=0.0)
        return float((gains_K * precision_K).sum() / self.right_K[-1])

    @property
    def calibrated_average_precision(self) -> float:
        """Average precision as if there were as many negatives as positives.

        De Geest et al., "Online Action Detection" (ECCV 2016): precision is w TP / (w TP + FP),
        with w the ratio of negative to positive frames. NaN without positives or negatives.
        """
        if not self._has_both:
            return float("nan")
        ratio = self.wrong_K[-1] / self.right_K[-1]
        return Curve(self.right_K, self.wrong_K / ratio).average_precision

    @property
    def roc_auc(self) -> float:
        """The chance that a positive frame has a higher score than a negative one, ties half.

        Fawcett, "An introduction to ROC analysis" (2006). NaN without positives or negatives.
        """
        if not self._has_both:
            return float("nan")
        heights = np.append(0.0, self.right_K) / self.right_K[-1]
        widths_K = np.diff(self.wrong_K, prepend=0.0) / self.wrong_K[-1]
        return float((widths_K * (heights[1:] + heights[:-1]) / 2).sum())

    @property
    def _has_both(self) -> bool:
        return bool(len(self.right_K) and self.right_K[-1] and self.wrong_K[-1])
