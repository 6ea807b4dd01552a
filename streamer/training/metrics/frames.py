"""Per frame: accuracy, confusion, and precision, recall, F1 and Jaccard of each class.

Averages over classes are plain means ("macro"). A class that occurs neither in the truth nor in
the predictions has no score and no part in the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.training.metrics.counts import Counts


def frame_counts(predicted_N: np.ndarray, truth_N: np.ndarray) -> Counts:
    """Frames where a class holds.

    Args:
        predicted_N: bool.
        truth_N: bool.
    """
    return Counts(
        right=int((predicted_N & truth_N).sum()),
        wrong=int((predicted_N & ~truth_N).sum()),
        missed=int((~predicted_N & truth_N).sum()),
    )


def confusion_matrix(
    predicted_N: np.ndarray, truth_N: np.ndarray, *, num_classes: int
) -> np.ndarray:
    """How often each class (row) was taken for each (column), int64 (C, C).

    Args:
        predicted_N: int, 0 to C - 1. Elsewhere the frame is left out.
        truth_N: int, 0 to C - 1. Elsewhere the frame is left out.
        num_classes: C.
    """
    inside_N = (predicted_N >= 0) & (predicted_N < num_classes)
    inside_N &= (truth_N >= 0) & (truth_N < num_classes)
    cells = truth_N[inside_N].astype(np.int64) * num_classes + predicted_N[inside_N]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_counts(confusion_CC: np.ndarray) -> np.ndarray:
    """Right, wrong and missed of each class, (C, 3), of a confusion matrix (truth in rows)."""
    right_C = np.diagonal(confusion_CC)
    return np.stack(
        (right_C, confusion_CC.sum(axis=0) - right_C, confusion_CC.sum(axis=1) - right_C), axis=1
    )


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of each class, float64 (C,), 0 to 1; NaN where there is nothing to divide by.

    Attributes:
        precision_C: Right of those said; NaN for a class that is never said.
        recall_C: Right of those true; NaN for a class that is never true.
        f1_C: Their harmonic mean, 2 TP / (2 TP + FP + FN).
        jaccard_C: Intersection over union, TP / (TP + FP + FN).
    """

    precision_C: np.ndarray
    recall_C: np.ndarray
    f1_C: np.ndarray
    jaccard_C: np.ndarray

    @classmethod
    def of(cls, counts_C3: np.ndarray) -> ClassScores:
        """Of right, wrong and missed of each class (real numbers: they may be weighted)."""
        right, wrong, missed = np.moveaxis(np.asarray(counts_C3, np.float64), -1, 0)
        with np.errstate(invalid="ignore"):
            return cls(
                precision_C=right / (right + wrong),
                recall_C=right / (right + missed),
                f1_C=2 * right / (2 * right + wrong + missed),
                jaccard_C=right / (right + wrong + missed),
            )

    def macro(self) -> dict[str, float]:
        """Means over the classes that occur, in truth or prediction.

        Where only one of precision and recall has something to divide by, the other counts as 0,
        as scikit-learn has it: a class never found has no precision to be proud of.
        """
        occurs_C = ~np.isnan(self.f1_C)

        def mean(scores_C: np.ndarray) -> float:
            return float(np.nan_to_num(scores_C[occurs_C]).mean()) if occurs_C.any() else np.nan

        return {
            "precision": mean(self.precision_C),
            "recall": mean(self.recall_C),
            "f1": mean(self.f1_C),
            "jaccard": mean(self.jaccard_C),
        }


def macro_f1(predicted_N: np.ndarray, truth_N: np.ndarray, *, num_classes: int) -> float:
    """Mean over the classes that occur of the per-frame F1; NaN if none does.

    Args:
        predicted_N: int, the class of each frame.
        truth_N: int, the same in truth.
        num_classes: C.
    """
    counts = class_counts(confusion_matrix(predicted_N, truth_N, num_classes=num_classes))
    return ClassScores.of(counts).macro()["f1"]
