"""How good predictions are: per frame, per segment, and at the moments where phases begin."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ONSET_ERROR_SECONDS = 2.0
"""An onset further away than this counts as not found."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment: label and half-open time."""

    label: int
    start_seconds: float
    end_seconds: float

    def overlap(self, other: Stretch) -> float:
        """Intersection over union; 0 for another label."""
        if self.label != other.label:
            return 0.0
        start, end = (
            max(self.start_seconds, other.start_seconds),
            min(self.end_seconds, other.end_seconds),
        )
        union = max(self.end_seconds, other.end_seconds) - min(
            self.start_seconds, other.start_seconds
        )
        return max(0.0, end - start) / union if union > 0 else 0.0


@dataclass(slots=True)
class Counts:
    """Right, wrong and missed; adds up over clips."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        self.right += other.right
        self.wrong += other.wrong
        self.missed += other.missed
        return self

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 to 1; 1 if there was nothing to find."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else 1.0


def stretches(labels_T: np.ndarray, pts_T: np.ndarray) -> list[Stretch]:
    """Runs of equal labels. Negative labels are gaps.

    Args:
        labels_T: int, a label per frame.
        pts_T: Seconds; a run ends where the next begins, the last at the last frame.
    """
    if not len(labels_T):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(labels_T)) + 1), len(labels_T)]
    times = [*pts_T, pts_T[-1]]
    return [
        Stretch(int(labels_T[start]), float(times[start]), float(times[end]))
        for start, end in pairwise(cuts)
        if labels_T[start] >= 0
    ]


def segment_counts(
    predicted: Sequence[Stretch], truth: Sequence[Stretch], *, overlap: float
) -> Counts:
    """Segments found: of the same label, overlapping enough, each true one once.

    The segmental F1 of Lea et al., "Temporal Convolutional Networks" (CVPR 2017).
    """
    found = [False] * len(truth)
    counts = Counts()
    for segment in predicted:
        overlaps = [segment.overlap(other) for other in truth]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= overlap and not found[best]:
            found[best] = True
            counts.right += 1
        else:
            counts.wrong += 1
    counts.missed = found.count(False)
    return counts


def edit_score(predicted: Sequence[Stretch], truth: Sequence[Stretch]) -> float:
    """1 - Levenshtein distance of the sequences of labels / length of the longer, 0 to 1."""
    longest = max(len(predicted), len(truth))
    if not longest:
        return 1.0
    row = list(range(len(truth) + 1))
    for i, segment in enumerate(predicted, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(truth, start=1):
            changed = diagonal + (segment.label != other.label)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, changed)
    return 1 - row[-1] / longest


def onset_errors(predicted: Sequence[Stretch], truth: Sequence[Stretch]) -> list[float]:
    """Seconds from each true onset to the nearest predicted one of the same label.

    Positive: too late. NaN: none within `MAX_ONSET_ERROR_SECONDS`. The first true segment is left
    out: nobody saw it begin.
    """
    errors = []
    for segment in truth[1:]:
        gaps = [
            other.start_seconds - segment.start_seconds
            for other in predicted
            if other.label == segment.label
        ]
        nearest = min(gaps, key=abs, default=np.inf)
        errors.append(nearest if abs(nearest) <= MAX_ONSET_ERROR_SECONDS else np.nan)
    return errors


def macro_f1(predicted_N: np.ndarray, truth_N: np.ndarray, *, num_classes: int) -> float:
    """Mean over classes of the per-frame F1."""
    scores = [
        frame_counts(predicted_N == label, truth_N == label).f1 for label in range(num_classes)
    ]
    return float(np.mean(scores))


def frame_counts(predicted_N: np.ndarray, truth_N: np.ndarray) -> Counts:
    """Frames where a class holds."""
    return Counts(
        right=int((predicted_N & truth_N).sum()),
        wrong=int((predicted_N & ~truth_N).sum()),
        missed=int((~predicted_N & truth_N).sum()),
    )
