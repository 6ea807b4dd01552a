"""How well scores put a class's frames before all others: AP, calibrated AP and ROC-AUC.

scikit-learn has the first and the last. Here the frames are sorted once, and then weighed anew for
each resample of a bootstrap, which is what takes the time.
"""

from __future__ import annotations

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
        ends = np.flatnonzero(np.diff(scores_N[order], append=np.inf))
        self._ends = ends if len(order) else np.zeros(0, np.int64)

    def average_precision(self, weights_V: np.ndarray) -> float:
        """The sum over thresholds of (gain of recall) x precision; NaN without positives."""
        right, wrong = self._cumulated(weights_V)
        return _average_precision(right, wrong)

    def calibrated_average_precision(self, weights_V: np.ndarray) -> float:
        """Average precision as if there were as many negatives as positives.

        De Geest et al., "Online Action Detection" (ECCV 2016): precision is w TP / (w TP + FP),
        with w the ratio of negative to positive frames. NaN without positives or negatives.
        """
        right, wrong = self._cumulated(weights_V)
        if not len(right) or not right[-1] or not wrong[-1]:
            return float("nan")
        return _average_precision(right, wrong * (right[-1] / wrong[-1]))

    def roc_auc(self, weights_V: np.ndarray) -> float:
        """The chance that a positive frame has a higher score than a negative one, ties half.

        Fawcett, "An introduction to ROC analysis" (2006). NaN without positives or negatives.
        """
        right, wrong = self._cumulated(weights_V)
        if not len(right) or not right[-1] or not wrong[-1]:
            return float("nan")
        heights = np.append(0.0, right) / right[-1]
        widths = np.diff(wrong, prepend=0.0) / wrong[-1]
        return float((widths * (heights[1:] + heights[:-1]) / 2).sum())

    def _cumulated(self, weights_V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positives and negatives at or above each score."""
        weights_N = np.asarray(weights_V, np.float64)[self._groups_N]
        right = np.cumsum(weights_N * self._positive_N)
        return right[self._ends], (np.cumsum(weights_N) - right)[self._ends]


def _average_precision(right: np.ndarray, wrong: np.ndarray) -> float:
    if not len(right) or not right[-1]:
        return float("nan")
    said = right + wrong
    precision = np.divide(right, said, out=np.zeros_like(right), where=said > 0)
    return float((np.diff(right, prepend=0.0) * precision).sum() / right[-1])
